//! Fills [`LaravelApp`]: from variables, or from a cached configuration.
use super::{
    super::{environment::Environment, php::Node},
    Browser, LaravelApp,
};

/// Laravel's word for the broadcaster, the newer one first.
const BROADCASTER: [&str; 2] = ["BROADCAST_CONNECTION", "BROADCAST_DRIVER"];

/// Who sends what is to be broadcast; the second before Laravel 5.7.
const QUEUE: [&str; 2] = ["QUEUE_CONNECTION", "QUEUE_DRIVER"];

/// Names that tell a `.env` of a Laravel project from others.
pub(super) fn is_of_laravel(environment: &Environment) -> bool {
    let is_one = |name: &str| {
        name.starts_with("REVERB_") || name.starts_with("PUSHER_") || BROADCASTER.contains(&name)
    };
    environment.names().any(is_one)
}

/// What the variables say of the app. `None` if they say nothing.
pub(super) fn from_variables(environment: &Environment) -> Option<LaravelApp> {
    if !is_of_laravel(environment) {
        return None;
    }
    let broadcaster = broadcaster(environment).map(|(word, _)| word);
    let get = |name: String| environment.get(&name).map(str::to_owned);
    let has = |family: &str| {
        let (app, host) = (format!("{family}_APP_KEY"), format!("{family}_HOST"));
        environment.get(&app).or(environment.get(&host)).is_some()
    };
    let family = match broadcaster.as_deref() {
        Some("pusher") => "PUSHER",
        Some("reverb") => "REVERB",
        _ if !has("REVERB") && has("PUSHER") => "PUSHER",
        _ => "REVERB",
    };
    // PUSHER_APP_HOST and its like are laravel-websockets'
    let either = |part: &str| {
        get(format!("{family}_{part}")).or_else(|| get(format!("{family}_APP_{part}")))
    };
    let host = either("HOST");
    let path = match family {
        "REVERB" => get("REVERB_SERVER_PATH".to_owned()),
        _ => get("PUSHER_APP_PATH".to_owned()),
    };
    Some(LaravelApp {
        broadcaster,
        port: host.is_some().then(|| port(either("PORT")).unwrap_or(443)),
        scheme: host
            .is_some()
            .then(|| either("SCHEME").unwrap_or_else(|| "https".to_owned())),
        host,
        path,
        app_id: get(format!("{family}_APP_ID")),
        app_key: get(format!("{family}_APP_KEY")),
        has_secret: get(format!("{family}_APP_SECRET")).is_some(),
        app_url: get("APP_URL".to_owned()),
        hostname: get("REVERB_HOST".to_owned()),
        browser: browser(environment),
        queue: first_word(environment, QUEUE).map(|(word, _)| word),
        ..LaravelApp::default()
    })
}

/// What a cached configuration says of the app. The JavaScript's part isn't in it: that is built from the `.env`.
pub(super) fn from_cache(root: &Node, environment: &Environment) -> LaravelApp {
    let text = |path: &[&str]| root.get(path).and_then(Node::text);
    let default = text(&["broadcasting", "default"]);
    let connection = [
        "broadcasting",
        "connections",
        default.as_deref().unwrap_or("reverb"),
    ];
    let part = |key: &str| text(&[&connection[..], &[key]].concat());
    let option = |key: &str| text(&[&connection[..], &["options", key]].concat());
    let server = text(&["reverb", "default"]).unwrap_or_else(|| "reverb".to_owned());
    let host = option("host").filter(|host| !is_pusher_com(host));
    LaravelApp {
        broadcaster: part("driver").or_else(|| default.clone()),
        port: host.is_some().then(|| port(option("port")).unwrap_or(443)),
        scheme: host
            .is_some()
            .then(|| option("scheme").unwrap_or_else(|| "https".to_owned())),
        host,
        path: option("path"),
        app_id: part("app_id"),
        app_key: part("key"),
        has_secret: part("secret").is_some(),
        app_url: text(&["app", "url"]),
        hostname: text(&["reverb", "servers", &server, "hostname"]),
        browser: browser(environment),
        queue: text(&["queue", "default"]),
        ..LaravelApp::default()
    }
}

/// Where pusher-php-server goes when nothing else is said: `api-mt1.pusher.com`.
fn is_pusher_com(host: &str) -> bool {
    host.ends_with(".pusher.com") || host.ends_with(".pusherapp.com")
}

/// The broadcaster and the variable that says so.
fn broadcaster(environment: &Environment) -> Option<(String, &'static str)> {
    first_word(environment, BROADCASTER)
}

/// The value of the first of these variables that has one. `null` is a word here: a broadcaster and a queue are called so.
fn first_word(
    environment: &Environment,
    names: [&'static str; 2],
) -> Option<(String, &'static str)> {
    names.into_iter().find_map(|name| {
        let raw = environment.raw(name)?.trim().trim_matches(['"', '\'']);
        match environment.get(name) {
            Some(word) => Some((word.to_owned(), name)),
            None if raw.trim_matches(['(', ')']).eq_ignore_ascii_case("null") => {
                Some(("null".to_owned(), name))
            }
            None => None,
        }
    })
}

fn browser(environment: &Environment) -> Browser {
    let family = ["VITE_REVERB", "VITE_PUSHER", "MIX_REVERB", "MIX_PUSHER"]
        .into_iter()
        .find(|family| environment.get(&format!("{family}_APP_KEY")).is_some());
    let Some(family) = family else {
        return Browser::default();
    };
    let get = |part: &str| {
        let value = environment.get(&format!("{family}_{part}"));
        // what was never put in is no host
        value.filter(|text| !text.contains("${")).map(str::to_owned)
    };
    Browser {
        key: get("APP_KEY"),
        host: get("HOST"),
        port: port(get("PORT")),
        scheme: get("SCHEME"),
    }
}

fn port(text: Option<String>) -> Option<u16> {
    text.and_then(|text| text.parse().ok())
}

/// What is wrong with the app's broadcasting itself, whatever this server is like.
pub(super) fn broadcaster_warnings(app: &LaravelApp, environment: &Environment) -> Vec<String> {
    let mut warnings = Vec::new();
    let named = match app.is_cached {
        true => None,
        false => broadcaster(environment).map(|(_, name)| environment.origin(name)),
    };
    let origin = named.unwrap_or_else(|| app.source.clone());
    match app.broadcaster.as_deref() {
        // variables of a process alone needn't be all there is
        None if environment.file.is_some() || app.is_cached => {
            let from = &app.source;
            warnings.push(format!(
                "BROADCAST_CONNECTION (before Laravel 11 BROADCAST_DRIVER) is missing from {from}: Laravel then broadcasts to nobody; set it to reverb"
            ));
        }
        Some(word @ ("log" | "null")) => warnings.push(format!(
            "the broadcaster is {word} in {origin}: Laravel then sends no events here; set BROADCAST_CONNECTION (before Laravel 11 BROADCAST_DRIVER) to reverb or pusher"
        )),
        Some("pusher") if app.host.is_none() => warnings.push(format!(
            "the broadcaster is pusher in {origin}, but PUSHER_HOST is empty: events go to pusher.com, not to this server; set PUSHER_HOST, PUSHER_PORT and PUSHER_SCHEME"
        )),
        _ => {}
    }
    let [newer, older] = BROADCASTER.map(|name| environment.get(name));
    if let (Some(newer), Some(older)) = (newer, older)
        && newer != older
        && !app.is_cached
    {
        warnings.push(format!(
            "BROADCAST_CONNECTION is {newer}, but BROADCAST_DRIVER is {older}: Laravel 11 and later read the first, earlier ones the second; remove one"
        ));
    }
    warnings
}

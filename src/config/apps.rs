//! The configured apps: collected from the file and the variables, checked against each other, given their limits.
use super::{
    Setting,
    error::ConfigError,
    laravel::Project,
    layers::{DEFAULT_ORIGIN, Table, hosted, shown},
    section::{BYTES_MAX, Section},
    soketi::FromSoketi,
    variables::AppVariables,
    webhooks,
};
use crate::{
    apps::{
        App, AppLimits, ClientEvents, MessageRateLimit, SubscriptionCount, UserSettings,
        origin_pattern,
    },
    protocol::signature::Secret,
};
use config::{Value, ValueKind};
use std::{sync::Arc, time::Duration};

pub(super) const DEVELOPMENT_ID: &str = "1001";
/// The id of soketi's own default app; key and secret are the same.
const SOKETI_ID: &str = "app-id";
const DEVELOPMENT_KEY: &str = "app-key";
const DEVELOPMENT_SECRET: &str = "app-secret";

const DAY_S: u32 = 86_400;

/// An app as configured, before its limits are read.
pub(super) struct Configured<'a> {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) secret: String,
    /// of the app as a whole
    pub(super) origin: String,
    /// of id, key and secret
    pub(super) origins: [String; 3],
    /// its `[[apps]]` section
    pub(super) table: Option<&'a Table>,
    /// what Laravel's configuration says of it, in the same form; weaker
    pub(super) laravel: Option<&'a Table>,
}

/// Apps that aren't `[[apps]]` sections.
pub(super) struct Named<'a> {
    pub(super) variables: Vec<AppVariables>,
    /// why some of Laravel's variables make no app
    pub(super) incomplete: Vec<ConfigError>,
    pub(super) project: &'a Project,
    pub(super) soketi: &'a FromSoketi,
}

impl Configured<'_> {
    /// Key and secret stand in the documentation, so everybody knows them.
    pub(super) fn is_published(&self) -> bool {
        self.key == DEVELOPMENT_KEY && self.secret == DEVELOPMENT_SECRET
    }

    /// Somebody named it, rather than that it is there for want of any other.
    pub(super) fn is_named(&self) -> bool {
        self.origin != DEFAULT_ORIGIN
    }

    /// One `.env` often names the same app twice, for the reverb and the pusher driver.
    fn is_same_app(&self, other: &Configured<'_>) -> bool {
        let is_alike = self.id == other.id || self.key == other.key;
        is_alike && self.secret == other.secret
    }
}

/// Every app there is; the development app if there is none. Fails when parts are missing or unusable, two apps share an id
/// or a key, or a Laravel project has no app.
pub(super) fn collect<'a>(
    settings: &'a Table,
    named: Named<'a>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Configured<'a>>, ConfigError> {
    let mut apps: Vec<Configured<'a>> = Vec::new();
    for (index, table) in app_tables(settings).enumerate() {
        let app = from_table(&format!("[[apps]] number {}", index + 1), table)?;
        check_unique(&app, &apps)?;
        apps.push(app);
    }
    for (index, table) in named.soketi.apps.iter().enumerate() {
        let app = from_table(&format!("soketi's app number {}", index + 1), table)?;
        add(app, &mut apps, warnings)?;
    }
    for table in &named.project.config.apps {
        let mut app = from_table("Laravel's app", table)?;
        (app.table, app.laravel) = (None, Some(table));
        add(app, &mut apps, warnings)?;
    }
    for variables in named.variables {
        add(from_variables(variables)?, &mut apps, warnings)?;
    }
    let mut incomplete = named.incomplete.into_iter();
    if apps.is_empty() {
        if let Some(error) = incomplete.next().or(named.project.absence_of_apps()) {
            return Err(error);
        }
        apps.push(development(match named.soketi.is_present {
            true => SOKETI_ID,
            false => DEVELOPMENT_ID,
        }));
    }
    warnings.extend(incomplete.map(|error| format!("{error}; it is left out for now")));
    Ok(apps)
}

/// Adds an app unless it is there already.
fn add<'a>(
    app: Configured<'a>,
    apps: &mut Vec<Configured<'a>>,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    if let Some(other) = apps.iter_mut().find(|other| app.is_same_app(other)) {
        if app.id != other.id || app.key != other.key {
            warnings.push(format!(
                "two apps have one secret and share their id or their key: id {} and key {} from {} count, id {} and key {} from {} don't",
                other.id, other.key, other.origin, app.id, app.key, app.origin
            ));
        }
        other.laravel = other.laravel.or(app.laravel);
        return Ok(());
    }
    check_unique(&app, apps)?;
    apps.push(app);
    Ok(())
}

fn development(id: &str) -> Configured<'static> {
    Configured {
        id: id.to_owned(),
        key: DEVELOPMENT_KEY.to_owned(),
        secret: DEVELOPMENT_SECRET.to_owned(),
        origin: DEFAULT_ORIGIN.to_owned(),
        origins: [DEFAULT_ORIGIN; 3].map(str::to_owned),
        table: None,
        laravel: None,
    }
}

fn app_tables(settings: &Table) -> impl Iterator<Item = &Table> {
    let list = match settings.get("apps").map(|value| &value.kind) {
        Some(ValueKind::Array(list)) => list.as_slice(),
        _ => &[],
    };
    list.iter().filter_map(|value| match &value.kind {
        ValueKind::Table(table) => Some(table),
        _ => None,
    })
}

fn from_table<'a>(name: &str, table: &'a Table) -> Result<Configured<'a>, ConfigError> {
    let some_origin = table.values().find_map(Value::origin);
    let origin_of = |key: &str| {
        let own = table.get(key).and_then(Value::origin);
        own.or(some_origin).unwrap_or(DEFAULT_ORIGIN)
    };
    let part = |key: &'static str| {
        let origin = origin_of(key);
        let setting = format!("{key} of {name}");
        match table.get(key).map(|value| &value.kind) {
            Some(ValueKind::String(text)) => checked_part(key, &setting, text, origin),
            Some(ValueKind::I64(number)) if key == "id" => {
                checked_part(key, &setting, &number.to_string(), origin)
            }
            Some(_) => Err(ConfigError::Invalid {
                setting,
                // a secret without its quotes is still a secret
                value: "not a text".to_owned(),
                origin: origin.to_owned(),
                allowed: "a text in quotes".to_owned(),
            }),
            None => Err(ConfigError::Missing {
                setting,
                origin: origin.to_owned(),
                needed: "an app needs an id, a key and a secret".to_owned(),
            }),
        }
    };
    Ok(Configured {
        id: part("id")?,
        key: part("key")?,
        secret: part("secret")?,
        origin: origin_of("id").to_owned(),
        origins: ["id", "key", "secret"].map(|key| origin_of(key).to_owned()),
        table: Some(table),
        laravel: None,
    })
}

fn from_variables(app: AppVariables) -> Result<Configured<'static>, ConfigError> {
    let [id, key, secret] = &app.origins;
    let part = |key: &'static str, text: &str, origin: &str| {
        checked_part(key, &format!("the app's {key}"), text, origin)
    };
    Ok(Configured {
        id: part("id", &app.id, id)?,
        key: part("key", &app.key, key)?,
        secret: part("secret", &app.secret, secret)?,
        origin: app.origin,
        origins: app.origins,
        table: None,
        laravel: None,
    })
}

/// Id and key stand in paths and in `key:signature`, so they may hold only what needs no escaping there.
fn checked_part(key: &str, setting: &str, text: &str, origin: &str) -> Result<String, ConfigError> {
    let fits_a_path = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@!$*,;=".contains(&byte);
    let is_dots = text == "." || text == "..";
    let is_usable = match key {
        // files are read with what is no UTF-8 replaced: such a secret would sign nothing right
        "secret" => !text.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER),
        _ => (1..=200).contains(&text.len()) && text.bytes().all(fits_a_path) && !is_dots,
    };
    if is_usable {
        return Ok(text.to_owned());
    }
    let (value, allowed) = match key {
        "secret" if text.is_empty() => ("empty".to_owned(), "a text of at least one character"),
        "secret" => (
            "unreadable".to_owned(),
            "UTF-8, as its file must be, with no character U+FFFD",
        ),
        _ => (
            format!("{text:?}"),
            "1 to 200 characters out of letters, digits and -._~@!$*,;=",
        ),
    };
    Err(ConfigError::Invalid {
        setting: setting.to_owned(),
        value,
        origin: origin.to_owned(),
        allowed: allowed.to_owned(),
    })
}

fn check_unique(app: &Configured<'_>, others: &[Configured<'_>]) -> Result<(), ConfigError> {
    for other in others {
        let (part, value) = match () {
            () if app.id == other.id => ("id", &app.id),
            () if app.key == other.key => ("key", &app.key),
            () => continue,
        };
        return Err(ConfigError::DuplicateApp {
            part,
            value: value.clone(),
            first: other.origin.clone(),
            second: app.origin.clone(),
        });
    }
    Ok(())
}

/// Gives an app its limits. `warnings` gets what can't be meant but isn't wrong.
pub(super) fn build(
    configured: &Configured<'_>,
    defaults: &Section<'_>,
    allow_private_targets: bool,
    warnings: &mut Vec<String>,
) -> Result<App, ConfigError> {
    let hosted = hosted()?.values;
    let own: Vec<&Table> = configured.table.into_iter().collect();
    let mut section = defaults.for_app(&configured.id, &own);
    // an app's own preset is stronger than what holds for all apps
    if configured
        .table
        .is_some_and(|table| table.contains_key("preset"))
        && is_hosted(&section)?
        && let Some(ValueKind::Table(limits)) = hosted.get("app_defaults").map(|v| &v.kind)
    {
        let layers: Vec<&Table> = own.into_iter().chain([limits]).collect();
        section = defaults.for_app(&configured.id, &layers);
    }
    let enabled = match configured.table {
        Some(table) if table.contains_key("enabled") => section.switch("enabled")?,
        _ => true,
    };
    let app = App {
        index: 0,
        id: configured.id.clone(),
        key: configured.key.clone(),
        secret: Secret::new(&configured.secret),
        enabled,
        require_tls: section.switch("require_tls")?,
        allowed_origins: allowed_origins(&section)?,
        allow_missing_origin: section.switch("allow_missing_origin")?,
        client_events: section.choice(
            "client_events",
            &[
                ("members", ClientEvents::Members),
                ("all", ClientEvents::All),
                ("none", ClientEvents::None),
            ],
        )?,
        activity_timeout_s: section.u32("activity_timeout_s", 1..=DAY_S)?,
        ping_interval_s: section.u32("ping_interval_s", 1..=DAY_S)?,
        pong_timeout_s: section.u32("pong_timeout_s", 1..=DAY_S)?,
        users: UserSettings {
            authentication: section.switch("user_authentication")?,
            authorization_timeout_s: section.limit("authorization_timeout_s")?,
            watchlist: section.switch("watchlist")?,
            watchlist_max: section.usize("watchlist_max", 1..=65_535)?,
            watchlist_grace: Duration::from_millis(
                section.integer("watchlist_grace_ms", 0..=60_000)?,
            ),
        },
        subscription_count: subscription_count(&section)?,
        limits: limits(&section)?,
        webhooks: webhooks::read(&configured.id, configured.table, allow_private_targets)?,
        usage: Arc::default(),
    };
    warnings.extend(message_too_small(&app, &section)?);
    Ok(app)
}

fn subscription_count(section: &Section<'_>) -> Result<SubscriptionCount, ConfigError> {
    let on_encrypted = section.switch("subscription_count_encrypted")?;
    Ok(match section.switch("subscription_count")? {
        false => SubscriptionCount::Off,
        true if on_encrypted => SubscriptionCount::On,
        true => SubscriptionCount::OnUnlessEncrypted,
    })
}

/// Whether the limits of the hosted service are asked for.
pub(super) fn is_hosted(section: &Section<'_>) -> Result<bool, ConfigError> {
    section.choice("preset", &[("", false), ("hosted", true)])
}

fn limits(section: &Section<'_>) -> Result<AppLimits, ConfigError> {
    Ok(AppLimits {
        connections_max: section.limit("connections_max")?,
        channels_max: section.usize("channels_max", 1..=u32::MAX.into())?,
        channels_per_connection_max: section
            .usize("channels_per_connection_max", 1..=u32::MAX.into())?,
        message_bytes_max: section.usize("message_bytes_max", 256..=BYTES_MAX)?,
        message_rate: message_rate(section)?,
        client_events_per_s: section.limit("client_events_per_s")?,
        backend_events_per_s: section.limit("backend_events_per_s")?,
        read_requests_per_s: section.limit("read_requests_per_s")?,
        client_event_data_bytes_max: section.usize("client_event_data_bytes_max", 1..=BYTES_MAX)?,
        channel_name_chars_max: section.usize("channel_name_chars_max", 16..=65_535)?,
        event_name_chars_max: section.usize("event_name_chars_max", 16..=65_535)?,
        event_data_bytes_max: section.usize("event_data_bytes_max", 1..=BYTES_MAX)?,
        channels_per_event_max: section.usize("channels_per_event_max", 1..=100_000)?,
        batch_events_max: section.usize("batch_events_max", 1..=100_000)?,
        presence_members_max: section.limit("presence_members_max")?,
        presence_user_id_chars_max: section.usize("presence_user_id_chars_max", 1..=65_535)?,
        presence_user_info_bytes_max: section
            .usize("presence_user_info_bytes_max", 2..=BYTES_MAX)?,
        cache_ttl_s: section.u32("cache_ttl_s", 1..=7 * DAY_S)?,
        timestamp_window_s: section.integer("timestamp_window_s", 0..=365 * 86_400)?,
    })
}

fn message_rate(section: &Section<'_>) -> Result<Option<MessageRateLimit>, ConfigError> {
    let limit = MessageRateLimit {
        max_attempts: section.u32("message_rate_attempts_max", 1..=u32::MAX)?,
        decay_s: section.u32("message_rate_decay_s", 1..=DAY_S)?,
        terminate: section.switch("message_rate_terminate")?,
    };
    Ok(section.switch("message_rate_limit")?.then_some(limit))
}

/// Hosts in the form `App::allows_origin` compares; empty when every origin is allowed.
fn allowed_origins(section: &Section<'_>) -> Result<Vec<String>, ConfigError> {
    let mut patterns = Vec::new();
    for entry in section.list("allowed_origins")? {
        match origin_pattern(entry) {
            Some(pattern) => patterns.push(pattern),
            None => {
                let allowed = "a list of host names such as app.example.com or *.example.com";
                return Err(section.invalid("allowed_origins", allowed)?);
            }
        }
    }
    if patterns.iter().any(|pattern| pattern == "*") {
        patterns.clear();
    }
    Ok(patterns)
}

/// C-25: a client event of the largest size must fit into a message. JSON can write a byte as six (`\u0001`), and
/// 4,096 leave room for the names around it.
fn message_too_small(app: &App, section: &Section<'_>) -> Result<Option<String>, ConfigError> {
    let needed = app
        .limits
        .client_event_data_bytes_max
        .saturating_mul(6)
        .saturating_add(4_096);
    if app.client_events == ClientEvents::None || app.limits.message_bytes_max >= needed {
        return Ok(None);
    }
    Ok(Some(format!(
        "{}: a client event with client_event_data_bytes_max ({}) of data can need {needed} bytes once escaped, and a message that is too large closes the connection",
        section.described("message_bytes_max")?,
        app.limits.client_event_data_bytes_max
    )))
}

/// What is set for this app alone and in force, by name. Its webhooks are apart.
pub(super) fn overrides<'a>(
    configured: &Configured<'a>,
    own_defaults: &Section<'_>,
) -> Vec<(&'a str, &'a Value)> {
    let own = configured.table.into_iter().flatten();
    let is_in_force = |key: &str| {
        let is_own = configured
            .table
            .is_some_and(|table| table.contains_key(key));
        !is_own && !own_defaults.has(key)
    };
    let laravel = configured.laravel.into_iter().flatten();
    let laravel = laravel.filter(|(key, _)| is_in_force(key));
    let mut overrides: Vec<(&str, &Value)> = own
        .chain(laravel)
        .map(|(key, value)| (key.as_str(), value))
        .filter(|(key, _)| !["id", "key", "secret", "webhooks"].contains(key))
        .collect();
    overrides.sort_by_key(|(key, _)| *key);
    overrides
}

/// The lines of `resound config` for one app, its secrets masked. `own_defaults`: what is said here for all apps, which is
/// stronger than what Laravel says of one.
pub(super) fn list(configured: &Configured<'_>, own_defaults: &Section<'_>) -> Vec<Setting> {
    let setting = |key: &str, value: String, origin: &str| Setting {
        key: format!("apps.{}.{key}", configured.id),
        value,
        origin: origin.to_owned(),
    };
    let [id, key, secret] = &configured.origins;
    let mut settings = vec![
        setting("id", format!("{:?}", configured.id), id),
        setting("key", format!("{:?}", configured.key), key),
        setting("secret", "****".to_owned(), secret),
    ];
    let overrides = overrides(configured, own_defaults);
    settings.extend(overrides.into_iter().map(|(key, value)| {
        let origin = value.origin().unwrap_or(&configured.origin);
        setting(key, shown(value), origin)
    }));
    let webhooks = webhooks::list(configured.table);
    settings.extend(
        webhooks
            .into_iter()
            .map(|(key, value)| setting(&key, value, &configured.origin)),
    );
    settings
}

//! What the server prints when it has started: where it listens, which apps it serves, and what to paste into Laravel.

use std::{fmt::Write, net::SocketAddr};

use crate::{
    apps::App,
    config::{LaravelApp, ServerSettings, Settings},
    server::Running,
};

/// The text for standard output.
pub fn text(running: &Running) -> String {
    let is_tls = running.certificates.is_some();
    let mut text = compose(&running.node.settings(), running.address, is_tls);
    if let Some(address) = running.plain_address {
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "without TLS, for PHP on this machine: http://{address}\n"
        );
    }
    #[cfg(unix)]
    if let Some(path) = running.unix_socket() {
        let _ = writeln!(
            text,
            "for a proxy on this machine: unix:{}\n",
            path.display()
        );
    }
    text
}

fn compose(settings: &Settings, address: SocketAddr, is_tls: bool) -> String {
    let mut text = String::new();
    let scheme = if is_tls { "https" } else { "http" };
    // Writing to a String can't fail.
    let _ = writeln!(
        text,
        "Resound {} listening on {scheme}://{address}{}",
        env!("CARGO_PKG_VERSION"),
        settings.server.path
    );
    let apps: Vec<&str> = settings.apps.iter().map(|app| app.id.as_str()).collect();
    let _ = writeln!(text, "serving app{} {}", plural(&apps), apps.join(", "));
    if let Some(app) = &settings.laravel {
        text.push_str(&addresses(app, settings, address, is_tls));
    }
    if settings.is_development && settings.server.host.is_loopback() {
        text.push_str(&published(settings));
    }
    match (settings.apps.first(), &settings.laravel) {
        // there is nothing to paste into a project that these settings are read from
        (Some(app), Some(laravel)) if laravel.app_key.as_ref() == Some(&app.key) => {
            text.push('\n');
        }
        (Some(app), _) => text.push_str(&snippets(app, settings, address, is_tls)),
        (None, _) => {}
    }
    text
}

/// Why the server stays on this machine. Sail's app has the published key and secret, too.
fn published(settings: &Settings) -> String {
    let laravel = settings.laravel.as_ref();
    let laravel = laravel.filter(|laravel| laravel.app_key.is_some());
    let (what, family) = match laravel.map(|laravel| laravel.broadcaster.as_deref()) {
        None => (
            "only the built-in development app is configured, whose secret",
            "REVERB",
        ),
        Some(Some("pusher")) => (
            "the app has the published development key and secret, which",
            "PUSHER",
        ),
        Some(_) => (
            "the app has the published development key and secret, which",
            "REVERB",
        ),
    };
    format!(
        "{what} everybody knows: set {family}_APP_ID, {family}_APP_KEY and {family}_APP_SECRET before others can reach this server\n"
    )
}

/// Who reaches the server where, in one line, and what of it can't work in one line each: that is what most people who set up
/// broadcasting get wrong.
fn addresses(app: &LaravelApp, settings: &Settings, address: SocketAddr, is_tls: bool) -> String {
    let posts_to = app
        .posts_to()
        .unwrap_or_else(|| "an address that its settings don't say".to_owned());
    let browsers_use = app
        .browsers_use()
        .unwrap_or_else(|| "an address that .env doesn't say".to_owned());
    let mut text = format!(
        "Laravel ({}): listening on {address}, the app posts to {posts_to}, browsers use {browsers_use}\n",
        app.source
    );
    // whatever port the server was given in the end
    let server = ServerSettings {
        port: address.port(),
        ..settings.server.clone()
    };
    for mismatch in app.mismatches(&server, is_tls, &settings.apps) {
        // writing to a String can't fail
        let _ = writeln!(text, "  can't work: {mismatch}");
    }
    text
}

fn plural<T>(items: &[T]) -> &'static str {
    if items.len() == 1 { "" } else { "s" }
}

/// The two things a user needs: one for `.env`, one for Echo. The secret is shown only if it is no secret.
fn snippets(app: &App, settings: &Settings, address: SocketAddr, is_tls: bool) -> String {
    let scheme = if is_tls { "https" } else { "http" };
    let host = match address.ip() {
        // A certificate is for a name.
        ip if is_tls => match &settings.tls.hostname {
            Some(name) => name.clone(),
            None if ip.is_unspecified() => "THE-NAME-IN-THE-CERTIFICATE".to_owned(),
            None => ip.to_string(),
        },
        ip if ip.is_unspecified() => "localhost".to_owned(),
        ip if ip.is_ipv6() => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    let port = address.port();
    let (id, key) = (&app.id, &app.key);
    let secret = if settings.is_development {
        "REVERB_APP_SECRET=app-secret"
    } else {
        "# REVERB_APP_SECRET: the same as here"
    };
    let path = match settings.server.path.as_str() {
        "" => String::new(),
        path => format!(", wsPath: '{path}'"),
    };
    // One variable a line: that is how `.env` wants them.
    format!(
        "
Laravel's .env:

BROADCAST_CONNECTION=reverb
REVERB_APP_ID={id}
REVERB_APP_KEY={key}
{secret}
REVERB_HOST={host}
REVERB_PORT={port}
REVERB_SCHEME={scheme}

Echo:

new Echo({{ broadcaster: 'reverb', key: '{key}', wsHost: '{host}', wsPort: {port}, forceTLS: {is_tls}, enabledTransports: ['ws', 'wss']{path} }})

"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(toml: &str, address: &str) -> String {
        let settings = crate::config::from_toml(toml).expect("settings");
        compose(&settings, address.parse().expect("address"), false)
    }

    #[test]
    fn the_development_app_comes_with_a_notice() {
        let text = welcome("", "127.0.0.1:8080");
        assert!(text.contains("listening on http://127.0.0.1:8080\n"));
        assert!(text.contains("serving app 1001"));
        assert!(text.contains("development app"));
        assert!(text.contains("\nREVERB_APP_SECRET=app-secret\n"));
        assert!(text.contains("wsHost: '127.0.0.1', wsPort: 8080"));
    }

    #[test]
    fn with_tls_nobody_is_sent_to_an_address_of_no_machine() {
        let check = |toml: &str, address: &str, expected: &str| {
            let app = "[[apps]]\nid = 7\nkey = 'k'\nsecret = 's'\n";
            let settings = crate::config::from_toml(&format!("{app}{toml}")).expect("settings");
            let text = compose(&settings, address.parse().expect("address"), true);
            assert!(
                text.contains(&format!("\nREVERB_HOST={expected}\n")),
                "{text}"
            );
        };
        let named = "[tls]\nhostname = 'ws.example.com'";
        check(named, "0.0.0.0:443", "ws.example.com");
        check("", "0.0.0.0:443", "THE-NAME-IN-THE-CERTIFICATE");
        check("", "192.0.2.1:443", "192.0.2.1");
    }

    #[test]
    fn a_laravel_project_is_told_who_reaches_what() {
        let mut settings = crate::config::from_toml("[[apps]]\nid = 7\nkey = 'k'\nsecret = 's'")
            .expect("settings");
        settings.laravel = Some(LaravelApp {
            source: ".env".to_owned(),
            host: Some("localhost".to_owned()),
            port: Some(8080),
            scheme: Some("http".to_owned()),
            app_key: Some("k".to_owned()),
            ..LaravelApp::default()
        });
        let text = |address: &str| compose(&settings, address.parse().expect("address"), false);
        let line = "Laravel (.env): listening on 0.0.0.0:8080, the app posts to http://localhost:8080, browsers use an address that .env doesn't say\n";
        assert!(text("0.0.0.0:8080").contains(line));
        assert!(!text("0.0.0.0:8080").contains("can't work"));
        // it has what it needs
        assert!(!text("0.0.0.0:8080").contains("REVERB_APP_KEY"));
        assert!(text("0.0.0.0:9000").contains(
            "\n  can't work: the app posts to port 8080 of localhost, but this server listens on port 9000"
        ));
    }

    #[test]
    fn an_app_with_the_published_secret_is_named_as_it_is_written() {
        let app = "[[apps]]\nid = 'app-id'\nkey = 'app-key'\nsecret = 'app-secret'";
        let mut settings = crate::config::from_toml(app).expect("settings");
        let mut check = |laravel: Option<LaravelApp>, expected: &str| {
            settings.laravel = laravel;
            let text = compose(&settings, "127.0.0.1:1".parse().expect("address"), false);
            assert!(text.contains(expected), "{text}");
        };
        check(None, "\nonly the built-in development app is configured");
        let laravel = |broadcaster: &str| {
            Some(LaravelApp {
                broadcaster: Some(broadcaster.to_owned()),
                app_key: Some("app-key".to_owned()),
                ..LaravelApp::default()
            })
        };
        check(
            laravel("pusher"),
            "\nthe app has the published development key and secret, which everybody knows: set PUSHER_APP_ID",
        );
        check(laravel("reverb"), "everybody knows: set REVERB_APP_ID");
    }

    #[test]
    fn with_tls_clients_use_it() {
        let settings = crate::config::from_toml("[tls]\nhostname = 'app.test'").expect("settings");
        let text = compose(&settings, "127.0.0.1:443".parse().expect("address"), true);
        assert!(
            text.contains("listening on https://127.0.0.1:443\n"),
            "{text}"
        );
        assert!(text.contains("\nREVERB_HOST=app.test\n"), "{text}");
        assert!(text.contains("\nREVERB_SCHEME=https\n"), "{text}");
        assert!(text.contains("forceTLS: true"), "{text}");
    }

    #[test]
    fn a_real_secret_is_not_printed() {
        let text = welcome(
            "[server]\npath = \"/ws\"\n[[apps]]\nid = \"7\"\nkey = \"k\"\nsecret = \"hunter2\"",
            "0.0.0.0:80",
        );
        assert!(!text.contains("hunter2"));
        assert!(!text.contains("development"));
        assert!(text.contains("wsHost: 'localhost', wsPort: 80"));
        assert!(text.contains("wsPath: '/ws'"));
    }
}

//! The settings and the Laravel app beside them: do they mean the same app, and does Laravel broadcast at all?
use super::{DoctorArguments, Finding, place::family};
use crate::{
    client::app_ids,
    config::{ConfigError, LaravelApp, Settings},
};

const SETTINGS: &str = "settings";
const BROADCASTER: &str = "broadcaster";
const APP: &str = "app";
const SOURCE: &str = "cached config";

/// The server wouldn't start either.
pub(super) fn unusable(error: &ConfigError) -> Finding {
    let cure = match error {
        ConfigError::IncompleteApp { missing, .. } => {
            format!("set {missing}: the id, the key and the secret of the app belong together")
        }
        ConfigError::NoApp { cure, .. } => cure.clone(),
        _ => "change that setting; `resound config` shows all of them and where each comes from"
            .to_owned(),
    };
    let text = error.to_string();
    // told once, as the cure
    let text = text.strip_suffix(&format!("; {cure}")).unwrap_or(&text);
    Finding::wrong(SETTINGS, text, cure)
}

pub(super) fn check(settings: &Settings, arguments: &DoctorArguments) -> Vec<Finding> {
    let mut findings = vec![loaded(settings)];
    match &settings.laravel {
        None => findings.push(named_app(settings, arguments.app.as_deref())),
        Some(laravel) => {
            findings.push(broadcaster(laravel));
            findings.push(match &arguments.app {
                Some(id) => named_app(settings, Some(id)),
                None if laravel.app_id.is_none() && !laravel.is_project() => {
                    named_app(settings, None)
                }
                None => laravel_app(settings, laravel),
            });
            findings.extend(cached(laravel));
        }
    }
    findings
}

fn loaded(settings: &Settings) -> Finding {
    match settings.warnings.as_slice() {
        [] => Finding::ok(SETTINGS, "the settings are complete"),
        warnings => Finding::warning(
            SETTINGS,
            "the settings are complete, but the server warns at its start",
            warnings.join("; "),
        ),
    }
}

fn named_app(settings: &Settings, id: Option<&str>) -> Finding {
    let app = match id {
        Some(id) => settings.apps.iter().find(|app| app.id == id),
        None => settings.apps.first(),
    };
    match app {
        None => unknown(settings, id.unwrap_or_default(), "--app names"),
        Some(app) if !app.enabled => disabled(&app.id),
        Some(app) if settings.is_development => Finding::warning(
            APP,
            format!(
                "only the development app {} is there, whose secret everybody knows",
                app.id
            ),
            "set REVERB_APP_ID, REVERB_APP_KEY and REVERB_APP_SECRET, or run this in the folder of the Laravel project",
        ),
        Some(app) => Finding::ok(APP, format!("app {} has an id, a key and a secret", app.id)),
    }
}

/// Whether what Laravel signs with is what the server checks with.
fn laravel_app(settings: &Settings, laravel: &LaravelApp) -> Finding {
    let family = family(laravel);
    let missing = |name: &str| {
        let text = format!("{family}_APP_{name} is not set in {}", laravel.source);
        let cure = format!("set {family}_APP_ID, {family}_APP_KEY and {family}_APP_SECRET there");
        Finding::wrong(APP, text, cure)
    };
    let Some(id) = laravel.app_id.as_deref().filter(|id| !id.is_empty()) else {
        return missing("ID");
    };
    let Some(key) = laravel.app_key.as_deref().filter(|key| !key.is_empty()) else {
        return missing("KEY");
    };
    let Some(app) = settings.apps.iter().find(|app| app.id == id) else {
        return unknown(settings, id, &format!("{} has", laravel.source));
    };
    if app.key != key {
        return Finding::wrong(
            APP,
            format!(
                "the key of app {id} is {key} in {}, but {} in the server's settings",
                laravel.source, app.key
            ),
            format!("give both the same key: {family}_APP_KEY={}", app.key),
        );
    }
    match app.enabled {
        false => disabled(id),
        true => Finding::ok(
            APP,
            format!("app {id} is the same for Laravel and for the server"),
        ),
    }
}

fn unknown(settings: &Settings, id: &str, who: &str) -> Finding {
    Finding::wrong(
        APP,
        format!(
            "{who} the app {id}, but the server's settings have only {}",
            app_ids(settings)
        ),
        "give both the same id, key and secret",
    )
}

fn disabled(id: &str) -> Finding {
    let text = format!("app {id} is disabled");
    Finding::wrong(APP, text, format!("set enabled = true for app {id}"))
}

fn broadcaster(laravel: &LaravelApp) -> Finding {
    let source = &laravel.source;
    let cure =
        format!("set BROADCAST_CONNECTION=reverb (BROADCAST_DRIVER before Laravel 11) in {source}");
    match laravel.broadcaster.as_deref() {
        Some("pusher") if laravel.host.as_deref().unwrap_or_default().is_empty() => Finding::wrong(
            BROADCASTER,
            "the broadcaster is pusher and PUSHER_HOST is empty, so events go to Pusher's own servers",
            format!(
                "set PUSHER_HOST, PUSHER_PORT and PUSHER_SCHEME in {source} to where Resound is"
            ),
        ),
        Some(name @ ("reverb" | "pusher")) => Finding::ok(
            BROADCASTER,
            format!("Laravel broadcasts by {name} ({source})"),
        ),
        Some(name @ ("log" | "null" | "")) => Finding::wrong(
            BROADCASTER,
            format!("Laravel's broadcaster is {name:?}, which sends events to no server"),
            cure,
        ),
        Some(name) => Finding::wrong(
            BROADCASTER,
            format!("Laravel's broadcaster is {name:?}, which sends events elsewhere"),
            cure,
        ),
        None if !laravel.is_project() => Finding::skipped(
            BROADCASTER,
            format!("no Laravel project is here, and {source} doesn't say how it broadcasts"),
        ),
        None => Finding::wrong(
            BROADCASTER,
            format!(
                "no broadcaster is set in {source}, and Laravel's default sends events to no server"
            ),
            cure,
        ),
    }
}

fn cached(laravel: &LaravelApp) -> Option<Finding> {
    let is_cached = laravel.source.ends_with("config.php");
    is_cached.then(|| {
        Finding::note(
            SOURCE,
            format!(
                "the app's config is cached in {}: what is changed in .env counts after `php artisan config:cache`",
                laravel.source
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn settings() -> Settings {
        let app = "[[apps]]\nid = 7\nkey = 'k'\nsecret = 's'\n";
        crate::config::from_toml(app).expect("settings")
    }

    fn laravel(broadcaster: Option<&str>) -> LaravelApp {
        LaravelApp {
            source: ".env".to_owned(),
            broadcaster: broadcaster.map(str::to_owned),
            host: Some("localhost".to_owned()),
            app_id: Some("7".to_owned()),
            app_key: Some("k".to_owned()),
            ..LaravelApp::default()
        }
    }

    #[test]
    fn broadcasters_that_send_nothing_here() {
        let check = |name: Option<&str>, verdict: Verdict| {
            assert_eq!(broadcaster(&laravel(name)).verdict, verdict, "{name:?}");
        };
        check(Some("reverb"), Verdict::Ok);
        check(Some("pusher"), Verdict::Ok);
        check(Some("log"), Verdict::Wrong);
        check(Some("null"), Verdict::Wrong);
        check(Some("redis"), Verdict::Wrong);
        check(None, Verdict::Skipped);

        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("artisan"), "").expect("a file");
        let mut project = laravel(None);
        project.folder = folder.path().to_owned();
        assert_eq!(broadcaster(&project).verdict, Verdict::Wrong);

        let mut to_pusher = laravel(Some("pusher"));
        to_pusher.host = None;
        assert!(
            broadcaster(&to_pusher)
                .text
                .contains("Pusher's own servers")
        );
    }

    #[test]
    fn the_app_must_be_the_same_on_both_sides() {
        let check = |change: fn(&mut LaravelApp), verdict: Verdict, part: &str| {
            let mut laravel = laravel(Some("reverb"));
            change(&mut laravel);
            let found = laravel_app(&settings(), &laravel);
            assert_eq!(found.verdict, verdict, "{found}");
            assert!(found.text.contains(part), "{found}");
        };
        check(|_| {}, Verdict::Ok, "the same");
        check(
            |app| app.app_id = None,
            Verdict::Wrong,
            "REVERB_APP_ID is not set",
        );
        check(
            |app| app.app_key = Some(String::new()),
            Verdict::Wrong,
            "REVERB_APP_KEY",
        );
        check(
            |app| app.app_id = Some("8".into()),
            Verdict::Wrong,
            "have only 7",
        );
        check(
            |app| app.app_key = Some("x".into()),
            Verdict::Wrong,
            "key of app 7 is x",
        );
    }

    #[test]
    fn a_cached_config_is_noted() {
        let mut app = laravel(None);
        assert_eq!(cached(&app), None);
        app.source = "bootstrap/cache/config.php".to_owned();
        assert_eq!(cached(&app).map(|found| found.verdict), Some(Verdict::Note));
    }
}

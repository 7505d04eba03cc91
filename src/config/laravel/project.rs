//! Finds the files of a Laravel project in a folder and reads them; nothing is changed and nothing is kept.
use super::{
    super::{
        Overrides,
        env_file::{self, EnvFile},
        environment::Environment,
        error::ConfigError,
        layers::{Table, read_file},
        php,
        variables::ENV_FILE_VARIABLE,
    },
    LaravelApp, app_side,
    reverb_config::{self, ReverbConfig},
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

const CACHED_CONFIG: &str = "bootstrap/cache/config.php";
const REVERB_CONFIG: &str = "config/reverb.php";

/// Names that are Laravel's: a cached configuration has their values already.
const FROZEN: [&str; 5] = [
    "REVERB_",
    "PUSHER_",
    "BROADCAST_",
    "LARAVEL_WEBSOCKETS_",
    "WEBSOCKETS_",
];

/// Names among them that Reverb's own configuration doesn't have, so that no cache can have them either.
const NOT_FROZEN: [&str; 3] = [
    "REVERB_ALLOWED_ORIGINS",
    "REVERB_SSL_PRIVATE_CERT",
    "REVERB_SSL_PRIVATE_KEY",
];

/// What the process and the files of its folder say.
#[derive(Debug, Default)]
pub(in super::super) struct Project {
    pub(in super::super) environment: Environment,
    /// from `config/reverb.php` or the cached configuration
    pub(in super::super) config: ReverbConfig,
    /// the app's own side
    pub(in super::super) app: Option<LaravelApp>,
    /// the files that were read, by the names they have in messages
    pub(in super::super) files: Vec<String>,
    pub(in super::super) warnings: Vec<String>,
    pub(in super::super) notes: Vec<String>,
}

/// A file that is there.
struct Found {
    /// as messages name it
    name: String,
    path: PathBuf,
}

impl Project {
    /// Reads what is there. Fails when a file that is meant can't be read, or the `.env` is one Laravel refuses.
    pub(in super::super) fn read(
        overrides: &Overrides,
        process: &HashMap<String, String>,
    ) -> Result<Project, ConfigError> {
        let mut project = Project {
            environment: Environment::of_process(process),
            ..Project::default()
        };
        let folder = overrides.folder.clone().unwrap_or_default();
        let explicit = explicit_env_file(overrides, process, &folder);
        let is_explicit = explicit.is_some();
        let env_file = match &overrides.folder {
            _ if is_explicit => explicit,
            Some(folder) => env_file_of(folder, overrides, process),
            None => None,
        };
        if let Some(found) = &env_file {
            project.add_env_file(found, process, is_explicit)?;
        }
        let cached = match &overrides.folder {
            Some(folder) => project.cached_config(folder, process, is_explicit)?,
            None => None,
        };
        match cached {
            Some((file, root)) => project.use_cached(&file, &root),
            None => project.use_plain(overrides.folder.as_deref())?,
        }
        if let Some(app) = &mut project.app {
            app.folder = folder;
            app.env_file = env_file.map(|found| found.name);
        }
        Ok(project)
    }

    /// What is said to somebody whose Laravel project has no app. `None` outside of a project.
    pub(in super::super) fn absence_of_apps(&self) -> Option<ConfigError> {
        let app = self.app.as_ref()?;
        if app.is_cached {
            let nowhere = || {
                format!(
                    "neither reverb.apps.apps nor broadcasting.connections of {} has one",
                    app.source
                )
            };
            return Some(ConfigError::NoApp {
                absence: self.config.absence.clone().unwrap_or_else(nowhere),
                cure: "complete .env and run php artisan config:cache again, or php artisan config:clear".to_owned(),
            });
        }
        let has = |family: &str| {
            self.environment
                .names()
                .any(|name| name.starts_with(family))
        };
        let family = match app.broadcaster.as_deref() {
            Some("pusher") => "PUSHER",
            // Laravel 10 and before have these, empty, from the start
            Some("log" | "null") | None if has("PUSHER_APP_") && !has("REVERB_") => "PUSHER",
            _ => "REVERB",
        };
        let [id, key, secret] = ["ID", "KEY", "SECRET"].map(|part| format!("{family}_APP_{part}"));
        let names = [&id, &key, &secret];
        let is_there = names
            .iter()
            .any(|name| self.environment.raw(name).is_some());
        // variables of a process alone make no project, but who passes on empty ones means to have an app
        let is_project =
            app.env_file.is_some() || self.files.iter().any(|name| name == REVERB_CONFIG);
        if !is_project && !is_there {
            return None;
        }
        let state = match (&app.env_file, is_there) {
            (Some(file), true) => format!("have no value in {file}"),
            (Some(file), false) => {
                format!("are missing from {file}{}", self.environment.lost_lines())
            }
            (None, true) => "have no value in the environment".to_owned(),
            (None, false) => "are not set, and there is no .env".to_owned(),
        };
        Some(ConfigError::NoApp {
            absence: format!("{id}, {key} and {secret} {state}"),
            cure: "set them (from Laravel 11 on php artisan install:broadcasting does), or add an [[apps]] section to a settings file"
                .to_owned(),
        })
    }

    fn add_env_file(
        &mut self,
        found: &Found,
        process: &HashMap<String, String>,
        is_explicit: bool,
    ) -> Result<(), ConfigError> {
        let text = read_text(found)?;
        let file = match env_file::parse(&text, process) {
            Ok(file) => file,
            // other programs have files of this name, too
            Err(error) if !is_explicit && !is_meant_for_us(&text) => {
                self.warnings
                    .push(format!("{} is not used: {error}", found.name));
                EnvFile::default()
            }
            Err(error) => {
                return Err(ConfigError::EnvFile {
                    file: found.name.clone(),
                    cause: error.to_string(),
                });
            }
        };
        if let Some(line) = file.unclosed.filter(|_| is_meant_for_us(&text)) {
            self.warnings.push(format!(
                "{} line {line} opens a double quote that is never closed: Laravel ignores everything from there on, and so does Resound",
                found.name
            ));
        }
        self.files.push(found.name.clone());
        self.environment.add_file(&found.name, file);
        Ok(())
    }

    /// The cached configuration, if there is one to be used.
    fn cached_config(
        &mut self,
        folder: &Path,
        process: &HashMap<String, String>,
        is_explicit: bool,
    ) -> Result<Option<(String, php::Node)>, ConfigError> {
        let other = process
            .get("APP_CONFIG_CACHE")
            .filter(|name| !name.is_empty());
        let name = other.map_or(CACHED_CONFIG, String::as_str);
        let Some(found) = existing(folder, name) else {
            return Ok(None);
        };
        if is_explicit {
            self.notes.push(format!(
                "{name} is not read, because an environment file was named"
            ));
            return Ok(None);
        }
        let nothing = |_: &str| None;
        let parsed = php::parse(&read_text(&found)?, &nothing);
        match parsed {
            Ok(parsed)
                if parsed
                    .root
                    .get(&["broadcasting"])
                    .or(parsed.root.get(&["reverb"]))
                    .is_some() =>
            {
                self.files.insert(0, found.name.clone());
                self.warn_if_stale(folder, &found);
                Ok(Some((found.name, parsed.root)))
            }
            Ok(_) => {
                self.warnings.push(format!(
                    "{name} has neither broadcasting nor reverb in it, so it is not used, though Laravel does: run php artisan config:cache"
                ));
                Ok(None)
            }
            Err(error) => {
                self.warnings.push(format!(
                    "{name} is not used, though Laravel does: {error}; run php artisan config:cache"
                ));
                Ok(None)
            }
        }
    }

    fn warn_if_stale(&mut self, folder: &Path, cached: &Found) {
        let modified = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
        let Some(since) = modified(&cached.path) else {
            return;
        };
        let env_file = self.environment.file.clone();
        let newer = env_file
            .iter()
            .map(String::as_str)
            .chain([REVERB_CONFIG])
            .find(|name| modified(&folder.join(name)).is_some_and(|time| time > since));
        if let Some(newer) = newer {
            self.warnings.push(format!(
                "{} is older than {newer}: changes since then count for neither Laravel nor Resound until php artisan config:cache runs again",
                cached.name
            ));
        }
    }

    fn use_cached(&mut self, file: &str, root: &php::Node) {
        let variables = self.environment.clone();
        let is_frozen = |name: &str| {
            FROZEN.iter().any(|prefix| name.starts_with(prefix)) && !NOT_FROZEN.contains(&name)
        };
        self.environment.retain(|name| !is_frozen(name));
        if let Some(reverb) = root.get(&["reverb"]) {
            self.config = reverb_config::read(reverb, file, false);
        }
        if let Some(connections) = root.get(&["broadcasting", "connections"]) {
            reverb_config::add_connections(connections, file, &mut self.config);
        }
        if let Some(redis) = root.get(&["database", "redis"]) {
            reverb_config::add_database(redis, file, &mut self.config);
        }
        self.warnings.push(format!(
            "the app's configuration is cached: {file} counts and {} does not, for Laravel as for Resound; RESOUND_ variables still do",
            variables.file.as_deref().unwrap_or(".env")
        ));
        self.warnings.extend(self.ignored(&variables, file));
        let mut app = app_side::from_cache(root, &variables);
        app.is_cached = true;
        app.source = file.to_owned();
        self.warnings
            .extend(app_side::broadcaster_warnings(&app, &self.environment));
        self.app = Some(app);
    }

    /// Names the process's variables that say something else than the cache.
    fn ignored(&self, variables: &Environment, file: &str) -> Option<String> {
        let of_server = [
            ("REVERB_SERVER_HOST", "server.host"),
            ("REVERB_SERVER_PORT", "server.port"),
            ("REVERB_SERVER_PATH", "server.path"),
        ];
        let of_app = [
            ("REVERB_APP_ID", "id"),
            ("REVERB_APP_KEY", "key"),
            ("REVERB_APP_SECRET", "secret"),
            ("PUSHER_APP_ID", "id"),
            ("PUSHER_APP_KEY", "key"),
            ("PUSHER_APP_SECRET", "secret"),
        ];
        let is = |table: &Table, key: &str, text: &str| {
            table
                .get(key)
                .is_some_and(|value| value.kind.to_string() == text)
        };
        let differs = |name: &str, is_said: &dyn Fn(&str) -> bool| {
            let text = variables
                .get(name)
                .filter(|_| variables.is_of_process(name));
            text.is_some_and(|text| !is_said(text))
        };
        let settings = &self.config.settings.values;
        let servers = of_server
            .iter()
            .filter(|(name, key)| differs(name, &|text| is(settings, key, text)));
        let apps = of_app.iter().filter(|(name, key)| {
            let tables = &self.config.apps;
            differs(name, &|text| {
                tables.iter().any(|table| is(table, key, text))
            })
        });
        let names: Vec<&str> = servers.chain(apps).map(|(name, _)| *name).collect();
        (!names.is_empty()).then(|| {
            format!(
                "{} of the environment and {file} say different things, and the file counts, for Laravel too: run php artisan config:cache where they are set",
                names.join(", ")
            )
        })
    }

    fn use_plain(&mut self, folder: Option<&Path>) -> Result<(), ConfigError> {
        let found = folder.and_then(|folder| existing(folder, REVERB_CONFIG));
        if let Some(found) = &found {
            self.use_reverb_config(found)?;
        }
        let app = app_side::from_variables(&self.environment);
        self.app = app.or(found.is_some().then(LaravelApp::default));
        if let Some(app) = &mut self.app {
            let source = self.environment.file.as_deref();
            app.source = source.unwrap_or("the environment").to_owned();
            let warnings = app_side::broadcaster_warnings(app, &self.environment);
            self.warnings.extend(warnings);
        }
        Ok(())
    }

    fn use_reverb_config(&mut self, found: &Found) -> Result<(), ConfigError> {
        let text = read_text(found)?;
        let variable = |name: &str| self.environment.raw(name).map(str::to_owned);
        let parsed = match php::parse(&text, &variable) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.warnings.push(format!(
                    "{} is not used: {error}; run php artisan config:cache, or set what it says in .env",
                    found.name
                ));
                return Ok(());
            }
        };
        self.files.insert(0, found.name.clone());
        let client_events = self.environment.get("REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM");
        self.config = reverb_config::read(&parsed.root, &found.name, client_events.is_some());
        if let Some(line) = parsed.skipped.first() {
            self.warnings.push(format!(
                "{} line {line} is code, which isn't run: what depends on it is not used",
                found.name
            ));
        }
        Ok(())
    }
}

/// A file named on the command line or by a variable. It must be there.
fn explicit_env_file(
    overrides: &Overrides,
    process: &HashMap<String, String>,
    folder: &Path,
) -> Option<Found> {
    let variable = process
        .get(ENV_FILE_VARIABLE)
        .filter(|name| !name.is_empty());
    let named = overrides.env_file.clone().or(variable.map(PathBuf::from))?;
    Some(Found {
        name: named.display().to_string(),
        path: folder.join(named),
    })
}

/// Laravel's choice: `.env.NAME` of `--env=NAME` or `APP_ENV` instead of `.env`, if there is one.
fn env_file_of(
    folder: &Path,
    overrides: &Overrides,
    process: &HashMap<String, String>,
) -> Option<Found> {
    let names = [overrides.env.as_ref(), process.get("APP_ENV")];
    let is_name = |name: &&String| !name.is_empty() && !name.contains(['/', '\\']);
    let special = names
        .into_iter()
        .flatten()
        .filter(is_name)
        .map(|name| format!(".env.{name}"));
    special
        .chain([".env".to_owned()])
        .find_map(|name| existing(folder, &name))
}

fn existing(folder: &Path, name: &str) -> Option<Found> {
    let path = folder.join(name);
    // a Python environment is often a folder called .env
    path.is_file().then(|| Found {
        name: name.to_owned(),
        path,
    })
}

fn is_meant_for_us(text: &str) -> bool {
    let ours = ["RESOUND_", "SOKETI_"];
    let mut prefixes = FROZEN.iter().chain(&ours);
    prefixes.any(|prefix| text.contains(prefix))
}

/// Bytes that are no UTF-8 are replaced: they can stand in a comment.
fn read_text(found: &Found) -> Result<String, ConfigError> {
    let bytes = read_file(&found.path, &found.name)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

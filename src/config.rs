//! Settings: read, check, hand out typed values; `config/default.toml` is embedded and documents each of them.
//!
//! Layers, weakest first: defaults, preset, `config/reverb.php` or the cached configuration of a Laravel project, file (ours or
//! soketi's), soketi's variables, Laravel's variables (the process's, then those of `.env`), `RESOUND_` variables, command line. Nothing else reads files or
//! variables, and nothing is changed after [`load`].
mod admin;
mod apps;
pub mod cluster;
mod env_file;
mod environment;
mod error;
mod explicit;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod herd;
mod laravel;
mod layers;
mod limits;
mod listeners;
mod php;
mod section;
mod settings_file;
mod soketi;
#[cfg(test)]
mod tests;
mod tls;
mod variables;
mod webhooks;

pub use admin::{AdminSettings, AdminToken};
pub use error::ConfigError;
pub use explicit::{Explicit, ExplicitApp, ExplicitSetting, TomlValue};
pub use laravel::{Browser, LaravelApp};
pub use limits::LimitSettings;
pub use listeners::{Listeners, Stopping};
pub use tls::{CertificateSource, TlsSettings};

use crate::{
    apps::App,
    log::{self, LogFormat, LogSettings},
};
use laravel::Project;
use layers::{DEFAULT_ORIGIN, KNOWN_KEYS, Layer, Table};
use section::Section;
use settings_file::SettingsFile;
use soketi::FromSoketi;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};
use variables::{CONFIG_VARIABLE, FromVariables};

/// Every setting, checked.
#[derive(Debug)]
pub struct Settings {
    pub server: ServerSettings,
    pub tls: TlsSettings,
    pub socket: SocketSettings,
    pub hub: HubSettings,
    pub publish: PublishSettings,
    pub webhook: WebhookSettings,
    pub admin: AdminSettings,
    pub limits: LimitSettings,
    /// `None`: this server is alone
    pub cluster: Option<cluster::Cluster>,
    pub log: LogSettings,
    /// in the order of the configuration; at least one
    pub apps: Vec<App>,
    /// only the development app, whose secret everybody knows, is configured
    pub is_development: bool,
    /// sentences to log at start: settings that work but can't be meant
    pub warnings: Vec<String>,
    /// sentences for the log at level debug: what is there but doesn't count
    pub notes: Vec<String>,
    /// the files that were read, as messages name them
    pub files: Vec<String>,
    /// what `resound import` writes down
    pub explicit: Explicit,
    /// what `resound config` prints
    pub listing: Vec<Setting>,
    /// the Laravel project the server was started in, if it is one
    pub laravel: Option<LaravelApp>,
}

/// One setting as `resound config` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `server.port`, `apps.1001.key`
    pub key: String,
    /// as TOML writes it; secrets are `****`
    pub value: String,
    /// `environment variable REVERB_SERVER_PORT`, `file resound.toml`, `option --port`, `the defaults`
    pub origin: String,
}

#[derive(Debug, Clone)]
pub struct ServerSettings {
    pub host: IpAddr,
    /// 0 = any free port
    pub port: u16,
    /// normalised: "" or "/prefix" without trailing slash
    pub path: String,
    /// worker threads, at least 1
    pub workers: usize,
    /// sockets this node takes; `None` = as many as the file limit allows
    pub connections_max: Option<usize>,
    pub request_bytes_max: usize,
    pub handshake_timeout: Duration,
    pub keep_alive: Duration,
    pub drain: Duration,
    pub stopping: Stopping,
    pub listeners: Listeners,
    /// peers whose X-Forwarded-* headers are believed
    pub trusted_proxies: Vec<ipnet::IpNet>,
}

#[derive(Debug, Clone, Copy)]
pub struct SocketSettings {
    pub outbox_bytes_max: usize,
    /// what the system may hold for a peer besides what is on its way; `None` = as much as it likes
    pub unsent_bytes_max: Option<u32>,
    /// frames wait this long for a peer that takes nothing, then the socket is cut
    pub write_timeout: Duration,
    /// how long a peer may take for one message
    pub message_timeout: Duration,
    /// how long a closing connection waits for the peer's close frame (C-30)
    pub close_timeout: Duration,
}

#[derive(Debug, Clone, Copy)]
pub struct HubSettings {
    /// commands waiting for one worker; over it publishers wait
    pub inbox_depth_max: usize,
    /// how long a REST publish waits for room, then 503
    pub publish_wait: Duration,
    /// cached events kept in the process (S-21)
    pub cached_events_max: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishSettings {
    /// how long a repeated idempotency key gets the first answer; zero = keys are ignored
    pub idempotency_window: Duration,
    pub idempotency_keys_max: usize,
}

/// How webhooks are delivered; each app names its endpoints (part 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookSettings {
    /// how long removals are held back (W-11)
    pub removal_delay: Duration,
    /// at most one cache miss of a channel in this time (W-6)
    pub cache_miss_interval: Duration,
    /// several events in one request (W-12)
    pub batching: bool,
    pub batch_time: Duration,
    pub batch_events_max: usize,
    /// requests to one endpoint at the same time
    pub requests_max: usize,
    /// what may wait for one endpoint; over it events are dropped
    pub queue_events_max: usize,
    pub queue_bytes_max: usize,
    pub connect_timeout: Duration,
    /// of one attempt, connecting included (W-4)
    pub timeout: Duration,
    /// doubled with every failure up to the maximum (W-9)
    pub retry_delay: Duration,
    pub retry_delay_max: Duration,
    pub retry_window: Duration,
    /// whether endpoints may have addresses that aren't public
    pub allow_private_targets: bool,
}

/// What the command line says. Texts, so that they are checked and refused like every other source.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Where `.env`, `resound.toml` and a Laravel project's files are looked for, and what relative names start from. `None`:
    /// nothing is looked for.
    pub folder: Option<PathBuf>,
    pub file: Option<PathBuf>,
    /// read instead of `.env`
    pub env_file: Option<PathBuf>,
    /// artisan's `--env`: `.env.NAME` is read instead of `.env`, if it is there
    pub env: Option<String>,
    pub host: Option<String>,
    pub port: Option<String>,
    pub path: Option<String>,
    pub debug: bool,
    /// whose certificate is looked for
    pub hostname: Option<String>,
    /// no certificate at all, whatever other sources say
    pub no_tls: bool,
}

/// The settings file that is taken when none is named.
const SETTINGS_FILE: &str = "resound.toml";

/// Reads and checks every setting, all files anew. Fails with a sentence that names the setting, its source and what is
/// allowed.
pub fn load(
    overrides: &Overrides,
    variables: &HashMap<String, String>,
) -> Result<Settings, ConfigError> {
    let mut project = Project::read(overrides, variables)?;
    let file = match settings_file(overrides, &project) {
        Some(name) => {
            let folder = overrides.folder.clone().unwrap_or_default();
            let file = settings_file::read(&folder.join(&name), &name.display().to_string())?;
            project.files.push(name.display().to_string());
            file
        }
        None => SettingsFile::Toml(Layer::default()),
    };
    assemble(file, overrides, project)
}

/// The file named by option or variable, else the one in the folder.
fn settings_file(overrides: &Overrides, project: &Project) -> Option<PathBuf> {
    let variable = project.environment.get(CONFIG_VARIABLE).map(PathBuf::from);
    let named = overrides.file.clone().or(variable);
    let beside = || {
        let folder = overrides.folder.as_ref()?;
        let is_there = folder.join(SETTINGS_FILE).is_file();
        is_there.then(|| PathBuf::from(SETTINGS_FILE))
    };
    named.or_else(beside)
}

/// Settings from TOML text alone, without file, variables or options: for tests and for embedding the server.
pub fn from_toml(text: &str) -> Result<Settings, ConfigError> {
    let file = SettingsFile::Toml(layers::toml(text, "the given text")?);
    assemble(file, &Overrides::default(), Project::default())
}

/// This process's environment. Text that isn't UTF-8 is kept as far as it is readable, so that it can be refused by name.
pub fn process_variables() -> HashMap<String, String> {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (lossy(name), lossy(value)))
        .collect()
}

fn assemble(
    file: SettingsFile,
    overrides: &Overrides,
    project: Project,
) -> Result<Settings, ConfigError> {
    let (file, soketi_file) = match file {
        SettingsFile::Toml(layer) => (layer, None),
        SettingsFile::Soketi(file) => (Layer::default(), Some(file)),
    };
    let mut found = variables::read(&project.environment)?;
    let mut soketi = soketi::read(&project.environment.of_soketi(), soketi_file.as_ref())?;
    if soketi.settings.values.contains_key("server.port") {
        found.leave_out_laravel_websockets_port();
    }
    // soketi's defaults are for who has nothing but soketi
    let has_reverb = project.environment.has_reverb() || !project.config.settings.values.is_empty();
    if !soketi.is_present || has_reverb {
        soketi.derived = Layer::default();
    }
    let defaults = layers::defaults()?;
    let options = option_layer(overrides);
    let laravel = &project.config;
    let explicit = [
        &laravel.settings,
        &file,
        &soketi.settings,
        &found.laravel,
        &found.resound,
        &options,
    ];
    let derived = [&defaults, &soketi.derived, &laravel.derived, &found.derived];
    let merge = |below: &[&Layer]| layers::merge(&[below, &explicit].concat());
    let redis = cluster::elsewhere(&cluster::Sources {
        merged: &merge(&derived)?,
        own: &layers::merge(&[&file, &found.resound])?,
        environment: &project.environment,
        laravel: [&laravel.settings, &found.laravel],
        laravel_redis: &laravel.redis_with(&found.redis),
        soketi: &soketi.settings,
        soketi_redis: &soketi.redis,
    })?;
    found.warnings.extend(redis.warnings);
    found.notes.extend(redis.notes);
    let derived = [&derived[..], &[&redis.layer]].concat();

    let mut settings = merge(&derived)?;
    if apps::is_hosted(&Section::new(&settings, "app_defaults"))? {
        settings = merge(&[&derived[..], &[&layers::hosted()?]].concat())?;
    }
    // what was said for all apps, besides what Laravel's variables say: its configuration has that for each app
    let own = layers::merge(&[&file, &soketi.settings, &found.resound])?;
    check(
        &settings,
        &Section::new(&own, "app_defaults"),
        found,
        project,
        soketi,
    )
}

fn option_layer(overrides: &Overrides) -> Layer {
    let mut layer = Layer::default();
    let options = [
        ("host", &overrides.host),
        ("port", &overrides.port),
        ("path", &overrides.path),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            let origin = format!("option --{name}");
            layer.set(&format!("server.{name}"), value.as_str(), &origin);
        }
    }
    if overrides.debug {
        layer.set("log.level", "debug", "option --debug");
    }
    if let Some(hostname) = &overrides.hostname {
        layer.set("tls.hostname", hostname.as_str(), "option --hostname");
    }
    if overrides.no_tls {
        for key in ["tls.certificate", "tls.key"] {
            layer.set(key, "", "option --no-tls");
        }
        layer.set("tls.auto", false, "option --no-tls");
    }
    layer
}

/// `own_defaults`: what the settings file and `RESOUND_` variables say in `[app_defaults]`.
fn check(
    settings: &Table,
    own_defaults: &Section<'_>,
    found: FromVariables,
    project: Project,
    mut soketi: FromSoketi,
) -> Result<Settings, ConfigError> {
    let mut warnings = [found.warnings, project.warnings.clone()].concat();
    warnings.append(&mut soketi.warnings);
    warnings.extend(project.config.warnings.iter().cloned());
    warnings.extend(overridden_literals(&project, &found.laravel));
    let notes = [
        &found.notes,
        &project.notes,
        &project.config.notes,
        &soketi.unused,
    ];
    let notes = notes.into_iter().flatten().cloned().collect();
    let named = apps::Named {
        variables: found.apps,
        incomplete: [found.incomplete, std::mem::take(&mut soketi.incomplete)].concat(),
        project: &project,
        soketi: &soketi,
    };
    let configured = apps::collect(settings, named, &mut warnings)?;
    let server = server_settings(
        &Section::new(settings, "server"),
        &configured,
        &mut warnings,
    )?;
    let tls = tls::settings(&Section::new(settings, "tls"), &project)?;
    let socket = socket_settings(&Section::new(settings, "socket"))?;
    let hub = hub_settings(&Section::new(settings, "hub"))?;
    let publish = publish_settings(&Section::new(settings, "publish"))?;
    let webhook = webhook_settings(&Section::new(settings, "webhook"))?;
    let admin = admin::admin_settings(&Section::new(settings, "admin"))?;
    let limits = limits::read(&Section::new(settings, "limits"))?;
    let cluster = cluster::settings(&Section::new(settings, "cluster"), &mut warnings)?;
    let log = log_settings(&Section::new(settings, "log"))?;

    let defaults = Section::new(settings, "app_defaults");
    let mut built = Vec::with_capacity(configured.len());
    for app in &configured {
        let allow_private = webhook.allow_private_targets;
        let defaults = defaults.for_laravel(own_defaults, app.laravel);
        built.push(apps::build(app, &defaults, allow_private, &mut warnings)?);
    }
    let mut seen = std::collections::HashSet::new();
    warnings.retain(|warning| seen.insert(warning.clone()));
    warnings.extend(outbox_too_small(&socket, &built));
    let has_certificate = tls.source.is_some();
    if let Some(app) = &project.app {
        warnings.extend(app.mismatches(&server, has_certificate, &built));
    }
    let mut listing = list(settings, &server);
    listing.extend(
        configured
            .iter()
            .flat_map(|app| apps::list(app, own_defaults)),
    );
    warnings.extend(published_secret(&server, &configured));
    Ok(Settings {
        explicit: explicit::collect(settings, &configured, own_defaults),
        listing,
        is_development: configured.iter().all(apps::Configured::is_published),
        apps: built,
        server,
        tls,
        socket,
        hub,
        publish,
        webhook,
        admin,
        limits,
        cluster,
        log,
        warnings,
        notes,
        files: project.files,
        laravel: project.app,
    })
}

/// Where a variable of Laravel's wins over what `config/reverb.php` has written out: Laravel itself would not look at it.
fn overridden_literals(project: &Project, variables: &Layer) -> Vec<String> {
    let config = &project.config;
    let pairs = config.literals.iter().filter_map(|path| {
        let (literal, variable) = (config.settings.values.get(*path)?, variables.values.get(*path)?);
        let is_same = literal.kind.to_string() == variable.kind.to_string();
        (!is_same).then(|| {
            let origin = |value: &::config::Value| value.origin().unwrap_or_default().to_owned();
            format!(
                "{path} is {} in {} and {} in {}: the second counts here, Laravel would take the first",
                layers::shown(literal), origin(literal), layers::shown(variable), origin(variable)
            )
        })
    });
    pairs.collect()
}

fn server_settings(
    section: &Section<'_>,
    configured: &[apps::Configured<'_>],
    warnings: &mut Vec<String>,
) -> Result<ServerSettings, ConfigError> {
    let workers = section.usize("workers", 0..=1_024)?;
    let connections_max = section.usize("connections_max", 0..=u32::MAX.into())?;
    let port = section.integer("port", 0..=u16::MAX.into())?;
    let drain = section.seconds("drain_s", 0..=3_600)?;
    let is_published = configured.iter().any(apps::Configured::is_published);
    Ok(ServerSettings {
        host: host(section, configured)?,
        port: u16::try_from(port).unwrap_or(u16::MAX),
        path: path(section)?,
        workers: match workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        },
        connections_max: (connections_max > 0).then_some(connections_max),
        request_bytes_max: section.usize("request_bytes_max", 1_024..=section::BYTES_MAX)?,
        handshake_timeout: section.seconds("handshake_timeout_s", 1..=600)?,
        keep_alive: section.seconds("keep_alive_s", 1..=86_400)?,
        drain,
        stopping: listeners::stopping(section, drain, warnings)?,
        listeners: listeners::listeners(section, is_published)?,
        trusted_proxies: trusted_proxies(section)?,
    })
}

/// The address to listen on. A secret that everybody knows must not be reachable from elsewhere: chosen by default, the
/// address is loopback then; chosen by the user, it is refused; unless `allow_published_secret` permits it.
fn host(section: &Section<'_>, configured: &[apps::Configured<'_>]) -> Result<IpAddr, ConfigError> {
    let may_leave = section.switch("allow_published_secret")?;
    let is_confined =
        |app: &apps::Configured<'_>| app.is_published() && !(may_leave && app.is_named());
    let all_confined = configured.iter().all(is_confined);
    let text = section.text("host")?;
    let host = match text.trim_start_matches('[').trim_end_matches(']') {
        "" if all_confined => IpAddr::V4(Ipv4Addr::LOCALHOST),
        "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        name if name.eq_ignore_ascii_case("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
        address => match address.parse() {
            Ok(address) => address,
            Err(_) => return Err(section.invalid("host", "an IP address or localhost")?),
        },
    };
    match configured.iter().find(|app| is_confined(app)) {
        Some(app) if !host.to_canonical().is_loopback() => Err(ConfigError::PublishedSecret {
            host: host.to_string(),
            origin: origin_of(section, "host")?,
            app: app.id.clone(),
        }),
        _ => Ok(host),
    }
}

fn origin_of(section: &Section<'_>, key: &str) -> Result<String, ConfigError> {
    let origin = section.value(key)?.origin();
    Ok(origin.unwrap_or(DEFAULT_ORIGIN).to_owned())
}

/// `reverb`, `/reverb` and `/reverb/` are the same prefix.
fn path(section: &Section<'_>) -> Result<String, ConfigError> {
    let inner = section.text("path")?.trim_matches('/');
    if inner.is_empty() {
        return Ok(String::new());
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_segment =
        |segment: &str| !["", ".", ".."].contains(&segment) && segment.bytes().all(is_plain);
    if !inner.split('/').all(is_segment) {
        let allowed =
            "a path such as /reverb: letters, digits and -._~ in parts divided by single slashes";
        return Err(section.invalid("path", allowed)?);
    }
    Ok(format!("/{inner}"))
}

fn trusted_proxies(section: &Section<'_>) -> Result<Vec<ipnet::IpNet>, ConfigError> {
    let network = |text: &str| {
        let address = text.parse::<IpAddr>().map(ipnet::IpNet::from);
        text.parse::<ipnet::IpNet>().ok().or(address.ok())
    };
    let entries = section.list("trusted_proxies")?;
    let networks: Option<Vec<_>> = entries.into_iter().map(network).collect();
    match networks {
        Some(networks) => Ok(networks),
        None => {
            let allowed = "a list of IP addresses and networks such as 10.0.0.0/8";
            Err(section.invalid("trusted_proxies", allowed)?)
        }
    }
}

fn socket_settings(section: &Section<'_>) -> Result<SocketSettings, ConfigError> {
    Ok(SocketSettings {
        outbox_bytes_max: section.usize("outbox_bytes_max", 16_384..=section::BYTES_MAX)?,
        unsent_bytes_max: match section.u32("unsent_bytes_max", 0..=1 << 30)? {
            0 => None,
            bytes => Some(bytes),
        },
        write_timeout: section.seconds("write_timeout_s", 1..=3_600)?,
        message_timeout: section.seconds("message_timeout_s", 1..=3_600)?,
        close_timeout: section.seconds("close_timeout_s", 1..=600)?,
    })
}

fn hub_settings(section: &Section<'_>) -> Result<HubSettings, ConfigError> {
    Ok(HubSettings {
        inbox_depth_max: section.usize("inbox_depth_max", 16..=16_777_216)?,
        publish_wait: Duration::from_millis(section.integer("publish_wait_ms", 0..=60_000)?),
        cached_events_max: section.usize("cached_events_max", 0..=100_000_000)?,
    })
}

fn publish_settings(section: &Section<'_>) -> Result<PublishSettings, ConfigError> {
    Ok(PublishSettings {
        idempotency_window: section.seconds("idempotency_window_s", 0..=86_400)?,
        idempotency_keys_max: section.usize("idempotency_keys_max", 1..=100_000_000)?,
    })
}

fn webhook_settings(section: &Section<'_>) -> Result<WebhookSettings, ConfigError> {
    Ok(WebhookSettings {
        removal_delay: section.milliseconds("removal_delay_ms", 0..=60_000)?,
        cache_miss_interval: section.milliseconds("cache_miss_interval_ms", 0..=3_600_000)?,
        batching: section.switch("batching")?,
        batch_time: section.milliseconds("batch_ms", 1..=60_000)?,
        batch_events_max: section.usize("batch_events_max", 1..=100_000)?,
        requests_max: section.usize("requests_max", 1..=256)?,
        queue_events_max: section.usize("queue_events_max", 16..=100_000_000)?,
        queue_bytes_max: section.usize("queue_bytes_max", 65_536..=section::BYTES_MAX)?,
        connect_timeout: section.milliseconds("connect_timeout_ms", 10..=600_000)?,
        timeout: section.milliseconds("timeout_ms", 10..=600_000)?,
        retry_delay: section.milliseconds("retry_delay_ms", 1..=3_600_000)?,
        retry_delay_max: section.milliseconds("retry_delay_max_ms", 1..=3_600_000)?,
        retry_window: section.seconds("retry_window_s", 0..=86_400)?,
        allow_private_targets: section.switch("allow_private_targets")?,
    })
}

fn log_settings(section: &Section<'_>) -> Result<LogSettings, ConfigError> {
    let level = section.text("level")?;
    if log::filter(level).is_none() {
        return Err(section.invalid("level", log::ALLOWED_LEVELS)?);
    }
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    Ok(LogSettings {
        level: level.to_owned(),
        format: section.choice("format", &formats)?,
    })
}

/// Where an app is reachable although everybody knows its secret.
fn published_secret(
    server: &ServerSettings,
    configured: &[apps::Configured<'_>],
) -> Option<String> {
    let app = configured.iter().find(|app| app.is_published())?;
    (!server.host.to_canonical().is_loopback()).then(|| {
        format!(
            "app {} has the published development key and secret: whoever reaches {}, port {}, may send events and listen to all of its channels",
            app.id, server.host, server.port
        )
    })
}

/// An event larger than the outbox cuts off sockets for which anything waits already, however short the wait.
fn outbox_too_small(socket: &SocketSettings, apps: &[App]) -> Option<String> {
    let largest = apps
        .iter()
        .map(|app| app.limits.event_data_bytes_max)
        .max()?;
    (largest > socket.outbox_bytes_max).then(|| {
        format!(
            "socket.outbox_bytes_max is {}, but event_data_bytes_max lets through events of {largest} bytes: such a one cuts off each socket that hasn't taken the event before it yet",
            socket.outbox_bytes_max
        )
    })
}

/// What is in force, in the order of `default.toml`.
fn list(settings: &Table, server: &ServerSettings) -> Vec<Setting> {
    let mut listing = Vec::new();
    for known in KNOWN_KEYS.iter() {
        let section = Section::new(settings, known.section);
        let Ok(value) = section.value(known.key) else {
            continue;
        };
        let masked = cluster::masked(&known.path, value);
        listing.push(Setting {
            key: known.path.clone(),
            value: masked.unwrap_or_else(|| match known.path.as_str() {
                "server.host" => format!("{:?}", server.host.to_string()),
                "server.path" => format!("{:?}", server.path),
                "server.workers" => server.workers.to_string(),
                "admin.token" if layers::shown(value) != "\"\"" => "****".to_owned(),
                _ if ["true", "false"].contains(&known.default) => section
                    .switch(known.key)
                    .map_or_else(|_| layers::shown(value), |on| on.to_string()),
                // a variable's text is a number by now
                _ if !known.default.starts_with('"') => {
                    layers::shown(value).trim_matches('"').to_owned()
                }
                _ => layers::shown(value),
            }),
            origin: value.origin().unwrap_or(DEFAULT_ORIGIN).to_owned(),
        });
    }
    listing
}

//! Settings: read, check, hand out typed values; `config/default.toml` is embedded and documents each of them.
//!
//! Layers, weakest first: defaults, preset, file, Laravel's variables, `RESOUND_` variables, command line. Nothing else
//! reads files or variables, and nothing is changed after [`load`].
mod apps;
mod error;
mod laravel;
mod layers;
mod limits;
mod listeners;
mod section;
#[cfg(test)]
mod tests;
mod tls;
mod variables;
mod webhooks;

pub use error::ConfigError;
pub use laravel::{Browser, LaravelApp};
pub use limits::LimitSettings;
pub use listeners::{Listeners, Stopping};
pub use tls::TlsSettings;

use crate::{
    apps::App,
    log::{self, LogFormat, LogSettings},
};
use layers::{DEFAULT_ORIGIN, KNOWN_KEYS, Layer, Table};
use section::Section;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

/// Every setting, checked.
#[derive(Debug)]
pub struct Settings {
    pub server: ServerSettings,
    pub tls: TlsSettings,
    pub socket: SocketSettings,
    pub hub: HubSettings,
    pub publish: PublishSettings,
    pub webhook: WebhookSettings,
    pub limits: LimitSettings,
    pub log: LogSettings,
    /// in the order of the configuration; at least one
    pub apps: Vec<App>,
    /// only the development app, whose secret everybody knows, is configured
    pub is_development: bool,
    /// sentences to log at start: settings that work but can't be meant
    pub warnings: Vec<String>,
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
    /// frames wait this long for a peer that takes nothing, then the socket is cut
    pub write_timeout: Duration,
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
    pub file: Option<PathBuf>,
    pub host: Option<String>,
    pub port: Option<String>,
    pub path: Option<String>,
    pub debug: bool,
    /// whose certificate is looked for
    pub hostname: Option<String>,
    /// no certificate at all, whatever other sources say
    pub no_tls: bool,
}

/// Reads and checks every setting. Fails with a sentence that names the setting, its source and what is allowed.
pub fn load(
    overrides: &Overrides,
    variables: &HashMap<String, String>,
) -> Result<Settings, ConfigError> {
    let file = match &overrides.file {
        Some(path) => layers::file(path)?,
        None => Layer::default(),
    };
    let mut settings = assemble(file, overrides, variables)?;
    settings.tls.know_surroundings(variables);
    Ok(settings)
}

/// Settings from TOML text alone, without file, variables or options: for tests and for embedding the server.
pub fn from_toml(text: &str) -> Result<Settings, ConfigError> {
    let file = layers::toml(text, "the given text")?;
    assemble(file, &Overrides::default(), &HashMap::new())
}

/// This process's environment. Text that isn't UTF-8 is kept as far as it is readable, so that it can be refused by name.
pub fn process_variables() -> HashMap<String, String> {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (lossy(name), lossy(value)))
        .collect()
}

fn assemble(
    file: Layer,
    overrides: &Overrides,
    variables: &HashMap<String, String>,
) -> Result<Settings, ConfigError> {
    let found = variables::read(variables)?;
    let defaults = layers::defaults()?;
    let options = option_layer(overrides);
    let explicit = [&file, &found.laravel, &found.resound, &options];
    let merge = |below: &[&Layer]| layers::merge(&[below, &explicit].concat());

    let mut settings = merge(&[&defaults, &found.derived])?;
    if apps::is_hosted(&Section::new(&settings, "app_defaults"))? {
        settings = merge(&[&defaults, &found.derived, &layers::hosted()?])?;
    }
    check(&settings, found.apps, found.warnings)
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

fn check(
    settings: &Table,
    app_variables: Vec<variables::AppVariables>,
    mut warnings: Vec<String>,
) -> Result<Settings, ConfigError> {
    let configured = apps::collect(settings, app_variables)?;
    let server = server_settings(
        &Section::new(settings, "server"),
        &configured,
        &mut warnings,
    )?;
    let tls = tls::settings(&Section::new(settings, "tls"))?;
    let socket = socket_settings(&Section::new(settings, "socket"))?;
    let hub = hub_settings(&Section::new(settings, "hub"))?;
    let publish = publish_settings(&Section::new(settings, "publish"))?;
    let webhook = webhook_settings(&Section::new(settings, "webhook"))?;
    let limits = limits::read(&Section::new(settings, "limits"))?;
    let log = log_settings(&Section::new(settings, "log"))?;

    let defaults = Section::new(settings, "app_defaults");
    let mut built = Vec::with_capacity(configured.len());
    for app in &configured {
        let allow_private = webhook.allow_private_targets;
        built.push(apps::build(app, &defaults, allow_private, &mut warnings)?);
    }
    let mut seen = std::collections::HashSet::new();
    warnings.retain(|warning| seen.insert(warning.clone()));
    warnings.extend(outbox_too_small(&socket, &built));
    Ok(Settings {
        listing: list(settings, &configured, &server),
        is_development: configured.iter().all(apps::Configured::is_published),
        apps: built,
        server,
        tls,
        socket,
        hub,
        publish,
        webhook,
        limits,
        log,
        warnings,
        laravel: None,
    })
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
        request_bytes_max: section.usize("request_bytes_max", 1_024..=apps::BYTES_MAX)?,
        handshake_timeout: section.seconds("handshake_timeout_s", 1..=600)?,
        keep_alive: section.seconds("keep_alive_s", 1..=86_400)?,
        drain,
        stopping: listeners::stopping(section, drain, warnings)?,
        listeners: listeners::listeners(section, is_published)?,
        trusted_proxies: trusted_proxies(section)?,
    })
}

/// The address to listen on. A secret that everybody knows must not be reachable from elsewhere: chosen by default, the
/// address is loopback then; chosen by the user, it is refused.
fn host(section: &Section<'_>, configured: &[apps::Configured<'_>]) -> Result<IpAddr, ConfigError> {
    let all_published = configured.iter().all(apps::Configured::is_published);
    let text = section.text("host")?;
    let host = match text.trim_start_matches('[').trim_end_matches(']') {
        "" if all_published => IpAddr::V4(Ipv4Addr::LOCALHOST),
        "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        name if name.eq_ignore_ascii_case("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
        address => match address.parse() {
            Ok(address) => address,
            Err(_) => return Err(section.invalid("host", "an IP address or localhost")?),
        },
    };
    let published = configured.iter().find(|app| app.is_published());
    match published {
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
        outbox_bytes_max: section.usize("outbox_bytes_max", 16_384..=apps::BYTES_MAX)?,
        write_timeout: section.seconds("write_timeout_s", 1..=3_600)?,
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
        queue_bytes_max: section.usize("queue_bytes_max", 65_536..=apps::BYTES_MAX)?,
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

/// An event larger than the outbox would cut off every socket it goes to.
fn outbox_too_small(socket: &SocketSettings, apps: &[App]) -> Option<String> {
    let largest = apps
        .iter()
        .map(|app| app.limits.event_data_bytes_max)
        .max()?;
    (largest > socket.outbox_bytes_max).then(|| {
        format!(
            "socket.outbox_bytes_max is {}, but event_data_bytes_max lets through events of {largest} bytes: one that doesn't fit cuts off the sockets it goes to",
            socket.outbox_bytes_max
        )
    })
}

/// What is in force, in the order of `default.toml`, then the apps.
fn list(
    settings: &Table,
    configured: &[apps::Configured<'_>],
    server: &ServerSettings,
) -> Vec<Setting> {
    let mut listing = Vec::new();
    for known in KNOWN_KEYS.iter() {
        let section = Section::new(settings, known.section);
        let Ok(value) = section.value(known.key) else {
            continue;
        };
        listing.push(Setting {
            key: known.path.clone(),
            value: match known.path.as_str() {
                "server.host" => format!("{:?}", server.host.to_string()),
                "server.path" => format!("{:?}", server.path),
                "server.workers" => server.workers.to_string(),
                _ if ["true", "false"].contains(&known.default) => section
                    .switch(known.key)
                    .map_or_else(|_| layers::shown(value), |on| on.to_string()),
                // a variable's text is a number by now
                _ if !known.default.starts_with('"') => {
                    layers::shown(value).trim_matches('"').to_owned()
                }
                _ => layers::shown(value),
            },
            origin: value.origin().unwrap_or(DEFAULT_ORIGIN).to_owned(),
        });
    }
    listing.extend(configured.iter().flat_map(apps::list));
    listing
}

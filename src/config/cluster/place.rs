//! Where Redis is in other words than `[cluster]`'s: Laravel's and soketi's. An app's `.env` always has them, cluster or not, so they
//! count only once a cluster is asked for, and only where `[cluster]` itself doesn't say where Redis is. They are never mixed: a
//! password goes to the server that it was written for.
use super::is_empty;
use crate::config::{
    environment::Environment,
    error::ConfigError,
    layers::{DEFAULT_ORIGIN, Layer, Table},
    section::Section,
};
use config::ValueKind;

/// Who sets one of these says where Redis is; `host` counts without the others only.
pub(super) const PLACE: [&str; 4] = ["url", "host", "sentinels", "nodes"];

/// A Redis connection in Laravel's configuration, key by key.
pub(in crate::config) const CONNECTION: [(&str, &str); 6] = [
    ("url", "cluster.url"),
    ("host", "cluster.host"),
    ("port", "cluster.port"),
    ("username", "cluster.username"),
    ("password", "cluster.password"),
    ("database", "cluster.database"),
];

/// The same as variables.
const VARIABLES: [(&str, &str); 6] = [
    ("REDIS_URL", "cluster.url"),
    ("REDIS_HOST", "cluster.host"),
    ("REDIS_PORT", "cluster.port"),
    ("REDIS_USERNAME", "cluster.username"),
    ("REDIS_PASSWORD", "cluster.password"),
    ("REDIS_DB", "cluster.database"),
];

const ENABLED: &str = "cluster.enabled";
const PREFIX: &str = "cluster.prefix";

/// What everybody said.
pub(in crate::config) struct Sources<'a> {
    /// all of it laid over each other
    pub(in crate::config) merged: &'a Table,
    /// the settings file and `RESOUND_` variables
    pub(in crate::config) own: &'a Table,
    pub(in crate::config) environment: &'a Environment,
    /// variables of Laravel's that are settings, and `config/reverb.php`
    pub(in crate::config) laravel: [&'a Layer; 2],
    /// Redis in Laravel's words
    pub(in crate::config) laravel_redis: &'a Layer,
    pub(in crate::config) soketi: &'a Layer,
    pub(in crate::config) soketi_redis: &'a Layer,
}

/// What counts of it.
#[derive(Default)]
pub(in crate::config) struct Elsewhere {
    pub(in crate::config) layer: Layer,
    pub(in crate::config) warnings: Vec<String>,
    pub(in crate::config) notes: Vec<String>,
}

/// Redis in Laravel's words, as far as variables have it.
pub(in crate::config) fn of_laravel(environment: &Environment) -> Layer {
    let mut layer = Layer::default();
    for (name, key) in VARIABLES {
        if let Some(text) = environment.get(name) {
            layer.set(key, text, &environment.origin(name));
        }
    }
    if let Some(scheme) = environment.get("REDIS_SCHEME") {
        let is_tls = scheme.eq_ignore_ascii_case("tls") || scheme.eq_ignore_ascii_case("rediss");
        layer.set("cluster.tls", is_tls, &environment.origin("REDIS_SCHEME"));
    }
    if let Some(channel) = environment.get("REVERB_SCALING_CHANNEL") {
        let origin = environment.origin("REVERB_SCALING_CHANNEL");
        prefix_of_channel(channel, &origin, &mut layer);
    }
    layer
}

/// `REVERB_SCALING_CHANNEL` tells clusters apart. `reverb` is what it is when nobody chose: whether a server reads it in
/// `config/reverb.php` or has no such file must make no difference.
pub(in crate::config) fn prefix_of_channel(channel: &str, origin: &str, layer: &mut Layer) {
    if channel != "reverb" {
        layer.set(PREFIX, channel, origin);
    }
}

/// Fails if `cluster.enabled` is no switch.
pub(in crate::config) fn elsewhere(sources: &Sources<'_>) -> Result<Elsewhere, ConfigError> {
    if !Section::new(sources.merged, "cluster").switch("enabled")? {
        return Ok(Elsewhere::default());
    }
    let says = |layer: &Layer| layer.values.contains_key(ENABLED);
    let by_laravel = sources.laravel.iter().any(|layer| says(layer));
    let by_soketi = says(sources.soketi);
    let is_laravels = match (by_laravel, by_soketi) {
        (true, false) => true,
        (false, true) => false,
        _ => has_place(sources.laravel_redis) || sources.soketi_redis.values.is_empty(),
    };
    let mut found = Elsewhere::default();
    match is_laravels {
        true => laravels(sources, &mut found),
        false => found.layer = sources.soketi_redis.clone(),
    }
    match named_places(sources.own)[..] {
        [] if is_laravels => found.warnings.extend(nowhere(sources, &found.layer)),
        [] => {}
        _ => found.layer.values.retain(|key, _| key == PREFIX),
    }
    found.warnings.extend(idle_host(sources.own));
    Ok(found)
}

/// That a cluster is asked for, and nobody says where Redis is. Laravel's default counts then, as it does for the app.
fn nowhere(sources: &Sources<'_>, layer: &Layer) -> Option<String> {
    let is_said = ["cluster.url", "cluster.host"]
        .iter()
        .any(|key| layer.values.contains_key(*key));
    let enabled = sources
        .laravel
        .iter()
        .find_map(|layer| layer.values.get(ENABLED));
    let origin = enabled.filter(|_| !is_said)?.origin()?;
    Some(format!(
        "{origin} asks for several servers on one Redis, but {}: it is looked for on this machine, 127.0.0.1",
        sources.environment.absence("REDIS_HOST")
    ))
}

/// That one's own `cluster.host` is of no use.
fn idle_host(own: &Table) -> Option<String> {
    let named = named_places(own);
    let (_, origin) = named.iter().find(|(key, _)| *key == "host")?;
    let (counting, _) = named.iter().find(|(key, _)| *key != "host")?;
    Some(format!(
        "cluster.host is set in {origin}, but has no effect: cluster.{counting} says where Redis is"
    ))
}

fn laravels(sources: &Sources<'_>, found: &mut Elsewhere) {
    let environment = sources.environment;
    found.layer = sources.laravel_redis.clone();
    add_redis_prefix(environment, &mut found.layer);
    let names = VARIABLES.map(|(name, _)| name);
    found.warnings = environment.doubts(|name| names.contains(&name));
    if environment.get("REDIS_TIMEOUT").is_some() {
        found.notes.push(format!(
            "{} has no effect: Resound goes on without Redis and tries to reach it for ever",
            environment.origin("REDIS_TIMEOUT")
        ));
    }
}

/// Laravel puts `REDIS_PREFIX` in front of all its names, and a Redis may let its user have no others.
fn add_redis_prefix(environment: &Environment, layer: &mut Layer) {
    let Some(prefix) = environment.get("REDIS_PREFIX") else {
        return;
    };
    let chosen = layer.values.get(PREFIX);
    let channel = chosen.and_then(|value| value.clone().into_string().ok());
    let chosen = chosen.and_then(|value| value.origin());
    let redis_prefix = environment.origin("REDIS_PREFIX");
    let origin = match chosen {
        Some(chosen) => format!("{redis_prefix} and {chosen}"),
        None => redis_prefix,
    };
    // Braces make all of an app's names one slot of a Redis Cluster; each channel has a slot here.
    let prefix = prefix.replace(['{', '}'], "");
    let name = channel.as_deref().unwrap_or("resound");
    layer.set(PREFIX, format!("{prefix}{name}"), &origin);
}

fn has_place(layer: &Layer) -> bool {
    layer.values.keys().any(|key| key != PREFIX)
}

/// Where `[cluster]` itself says where Redis is: the keys, and where they are set.
fn named_places(own: &Table) -> Vec<(&'static str, &str)> {
    let Some(ValueKind::Table(cluster)) = own.get("cluster").map(|value| &value.kind) else {
        return Vec::new();
    };
    let named = PLACE.iter().filter_map(|key| {
        let value = cluster.get(*key).filter(|value| !is_empty(value))?;
        let origin = value.origin().filter(|origin| *origin != DEFAULT_ORIGIN)?;
        Some((*key, origin))
    });
    named.collect()
}

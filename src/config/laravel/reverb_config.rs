//! The settings in `config/reverb.php`, or in its part of a cached configuration.
use super::super::{
    cluster::{CONNECTION, prefix_of_channel},
    layers::{Layer, Table},
    php::{Node, Value as Php},
    variables::larger_events,
};
use config::{Value, ValueKind};

/// What a configuration file of Laravel's says about the server and its apps.
#[derive(Debug, Default)]
pub(in super::super) struct ReverbConfig {
    pub(in super::super) settings: Layer,
    /// the Redis of a cluster, as `scaling.server` has it; none there: that of `REDIS_` variables
    redis: Option<Layer>,
    /// what tells clusters apart
    channel: Layer,
    /// follows from a value without being what it says
    pub(in super::super) derived: Layer,
    /// settings written out in the file: Laravel would take them, whatever variables say
    pub(in super::super) literals: Vec<&'static str>,
    /// in the form of `[[apps]]` sections
    pub(in super::super) apps: Vec<Table>,
    /// why there is no app, where one was meant
    pub(in super::super) absence: Option<String>,
    pub(in super::super) warnings: Vec<String>,
    pub(in super::super) notes: Vec<String>,
}

impl ReverbConfig {
    /// The Redis of a cluster. `variables` is what variables say of it.
    pub(in super::super) fn redis_with(&self, variables: &Layer) -> Layer {
        let mut layer = self.channel.clone();
        match &self.redis {
            Some(redis) => {
                layer.values.extend(redis.values.clone());
                let prefix = variables.values.get_key_value("cluster.prefix");
                layer
                    .values
                    .extend(prefix.map(|(key, value)| (key.clone(), value.clone())));
            }
            None => layer.values.extend(variables.values.clone()),
        }
        layer
    }
}

/// What Reverb's stock file has and nobody chose. It is left to Resound's own defaults.
const STOCK: [(&str, &str); 3] = [
    ("max_request_size", "10000"),
    ("max_message_size", "10000"),
    ("ping_interval", "60"),
];

/// Numbers of one app and the settings they are.
const APP_NUMBERS: [(&str, &str); 4] = [
    ("ping_interval", "ping_interval_s"),
    ("activity_timeout", "activity_timeout_s"),
    ("max_connections", "connections_max"),
    ("max_message_size", "message_bytes_max"),
];

/// Reads the array that is `config('reverb')`. `file` is how messages name the file.
pub(super) fn read(reverb: &Node, file: &str, client_events_are_set: bool) -> ReverbConfig {
    let mut reader = Reader {
        file,
        client_events_are_set,
        found: ReverbConfig::default(),
    };
    reader.unknown(reverb);
    let name = reverb.get(&["default"]).and_then(Node::text);
    let name = name.as_deref().unwrap_or("reverb");
    match reverb.get(&["servers", name]) {
        Some(server) => reader.server(server),
        None => reader.found.warnings.push(format!(
            "{file} has no servers.{name}, so where to listen is not taken from it"
        )),
    }
    reader.provider(reverb);
    let apps = reverb.get(&["apps", "apps"]);
    for (index, app) in apps.into_iter().flat_map(Node::entries) {
        reader.app(index, app);
    }
    reader.found
}

/// Further apps of a cached configuration: those that Laravel's own connections name, as they are all an app with the pusher
/// driver has.
pub(super) fn add_connections(connections: &Node, file: &str, found: &mut ReverbConfig) {
    let mut reader = Reader {
        file,
        client_events_are_set: true,
        found: std::mem::take(found),
    };
    for (name, connection) in connections.entries() {
        let driver = connection.get(&["driver"]).and_then(Node::text);
        if matches!(driver.as_deref(), Some("reverb" | "pusher")) {
            let name = format!("broadcasting.connections.{name}");
            if let Some(table) = reader.triple(&name, connection) {
                let is_known = reader.found.apps.iter().any(|app| is_same(app, &table));
                if !is_known {
                    reader.found.apps.push(table);
                }
            }
        }
    }
    *found = reader.found;
}

/// Where `scaling.server` names no Redis, Reverb takes the default connection of the app.
pub(super) fn add_database(redis: &Node, file: &str, found: &mut ReverbConfig) {
    if found.redis.is_some() {
        return;
    }
    let mut reader = Reader {
        file,
        client_events_are_set: true,
        found: std::mem::take(found),
    };
    if let Some(connection) = redis.get(&["default"]) {
        reader.redis(connection);
    }
    *found = reader.found;
}

fn is_same(a: &Table, b: &Table) -> bool {
    ["id", "key", "secret"].iter().all(|part| {
        let text = |table: &Table| table.get(*part).map(|value| value.kind.clone());
        text(a) == text(b)
    })
}

struct Reader<'a> {
    file: &'a str,
    client_events_are_set: bool,
    found: ReverbConfig,
}

impl Reader<'_> {
    fn origin(&self, node: &Node) -> String {
        format!("{} line {}", self.file, node.line)
    }

    fn warn(&mut self, node: &Node, text: &str) {
        let origin = self.origin(node);
        self.found.warnings.push(format!("{origin}: {text}"));
    }

    /// Names what can't be known without PHP.
    fn unknown(&mut self, reverb: &Node) {
        for (path, line, what) in reverb.unknown() {
            // what it means for this key
            let consequence = match path.rsplit('.').find(|part| part.parse::<u32>().is_err()) {
                Some("provider") => continue,
                Some("allowed_origins") => {
                    "so origins are not limited by it; set REVERB_ALLOWED_ORIGINS, or run php artisan config:cache"
                }
                _ => "so it is not used; run php artisan config:cache, or set it in .env",
            };
            self.found.warnings.push(format!(
                "{} line {line}: {} is {what}, which can't be known without running PHP, {consequence}",
                self.file,
                if path.is_empty() { "what it returns" } else { &path },
            ));
        }
    }

    fn provider(&mut self, reverb: &Node) {
        let Some(node) = reverb.get(&["apps", "provider"]) else {
            return;
        };
        let what = match &node.value {
            Php::Text(text) if text == "config" => return,
            Php::Unknown(what) => what.clone(),
            _ => node.text().unwrap_or_else(|| "empty".to_owned()),
        };
        self.warn(
            node,
            &format!("apps.provider is {what}, which can't run here: apps are those of apps.apps"),
        );
    }

    fn server(&mut self, server: &Node) {
        let settings = [
            ("host", "server.host"),
            ("port", "server.port"),
            ("path", "server.path"),
            ("max_request_size", "server.request_bytes_max"),
        ];
        for (key, path) in settings {
            if let Some((value, origin)) = self.value(server, key) {
                if key == "max_request_size" {
                    let bytes = value.to_string();
                    larger_events(&bytes, &origin, &mut self.found.derived);
                }
                self.found.settings.set(path, value, &origin);
                let node = server.get(&[key]);
                if node.is_some_and(|node| node.variable.is_none()) {
                    self.found.literals.push(path);
                }
            }
        }
        if let Some(tls) = server.get(&["options", "tls"]) {
            self.tls(tls);
        }
        if let Some(scaling) = server.get(&["scaling"]) {
            self.scaling(scaling);
        }
    }

    fn scaling(&mut self, scaling: &Node) {
        if let Some(node) = scaling.get(&["enabled"])
            && node.value.is_truthy()
        {
            let origin = self.origin(node);
            self.found.settings.set("cluster.enabled", true, &origin);
            if node.variable.is_none() {
                self.found.literals.push("cluster.enabled");
            }
        }
        if let Some(node) = scaling.get(&["channel"])
            && let Some(channel) = node.text()
        {
            let origin = self.origin(node);
            prefix_of_channel(&channel, &origin, &mut self.found.channel);
        }
        if let Some(server) = scaling.get(&["server"]) {
            self.redis(server);
        }
    }

    /// A Redis connection. An empty one is none.
    fn redis(&mut self, connection: &Node) {
        if connection.entries().next().is_none() {
            return;
        }
        let mut layer = Layer::default();
        for (key, path) in CONNECTION {
            if let Some(node) = connection.get(&[key])
                && let Some(text) = node.text()
            {
                layer.set(path, text, &self.origin_of(node));
            }
        }
        let scheme = connection.get(&["scheme"]);
        if let Some(node) = scheme.filter(|node| node.text().as_deref() == Some("tls")) {
            layer.set("cluster.tls", true, &self.origin_of(node));
        }
        self.found.redis = Some(layer);
    }

    /// With the variable it comes from.
    fn origin_of(&self, node: &Node) -> String {
        let origin = self.origin(node);
        match &node.variable {
            Some(name) => format!("{origin} ({name})"),
            None => origin,
        }
    }

    fn tls(&mut self, tls: &Node) {
        let Some(certificate) = tls.get(&["local_cert"]).filter(|node| !node.is_absent()) else {
            return;
        };
        // PHP finds the key in the certificate's file if it is named nowhere else
        let key = tls.get(&["local_pk"]).filter(|node| !node.is_absent());
        let files = [
            ("tls.certificate", certificate),
            ("tls.key", key.unwrap_or(certificate)),
        ];
        for (path, node) in files {
            if let Some(file) = node.text() {
                let origin = self.origin(node);
                self.found.settings.set(path, file, &origin);
            }
        }
        if let Some(node) = tls.get(&["passphrase"]).filter(|node| !node.is_absent()) {
            self.warn(
                node,
                "a key with a passphrase can't be used: write it without one (openssl pkey -in KEY -out KEY.plain)",
            );
        }
    }

    /// A text or number that isn't absent, and isn't what the stock file has.
    fn value(&mut self, section: &Node, key: &str) -> Option<(ValueKind, String)> {
        let node = section.get(&[key])?;
        let origin = self.origin(node);
        if node.is_absent() {
            let note = format!("{origin}: {key} is empty and counts as not set");
            self.found.notes.push(note);
            return None;
        }
        let text = node.text();
        if STOCK
            .iter()
            .any(|(stock, number)| *stock == key && text.as_deref() == Some(number))
        {
            return None;
        }
        let kind = match (&node.value, text) {
            (Php::Unknown(_), _) => return None,
            (Php::Int(number), _) => ValueKind::I64(*number),
            (Php::Bool(on), _) => ValueKind::Boolean(*on),
            (Php::Float(number), None) => ValueKind::Float(*number),
            (_, Some(text)) => ValueKind::String(text),
            (_, None) => {
                self.warn(node, &format!("{key} is a list, so it is not used"));
                return None;
            }
        };
        Some((kind, origin))
    }

    fn app(&mut self, index: &str, app: &Node) {
        let Some(mut table) = self.triple(&format!("apps.apps.{index}"), app) else {
            return;
        };
        for (key, setting) in APP_NUMBERS {
            if let Some((value, origin)) = self.value(app, key) {
                table.insert(setting.to_owned(), Value::new(Some(&origin), value));
            }
        }
        self.origins(app, &mut table);
        self.client_events(app, &mut table);
        self.rate_limit(app, &mut table);
        self.found.apps.push(table);
    }

    /// Id, key and secret; `None`, with the reason kept, if one isn't there.
    fn triple(&mut self, name: &str, app: &Node) -> Option<Table> {
        let mut table = Table::new();
        let mut missing = Vec::new();
        for (key, setting) in [("app_id", "id"), ("key", "key"), ("secret", "secret")] {
            let node = app.get(&[key]);
            match node.and_then(|node| Some((node, node.text()?))) {
                Some((node, text)) => {
                    let origin = self.origin(node);
                    table.insert(setting.to_owned(), Value::new(Some(&origin), text));
                }
                None => missing.push((key, node)),
            }
        }
        let Some((key, node)) = missing.first() else {
            return Some(table);
        };
        let line = node.map_or(app.line, |node| node.line);
        let absence = format!("{key} of {name} is empty in {} line {line}", self.file);
        // whose parts come from variables is told by these; whose parts are all empty isn't meant
        let is_told = missing.len() == 3 || node.is_some_and(|node| node.variable.is_some());
        if !is_told {
            let warning = format!("{absence}, so that app is left out");
            self.found.warnings.push(warning);
        }
        self.found.absence.get_or_insert(absence);
        None
    }

    fn origins(&mut self, app: &Node, table: &mut Table) {
        let Some(node) = app.get(&["allowed_origins"]) else {
            return;
        };
        // with one of them unknown, the others would keep out whom the app lets in
        let is_unknown = |entry: &Node| matches!(entry.value, Php::Unknown(_));
        if node.entries().any(|(_, entry)| is_unknown(entry)) {
            return;
        }
        let texts: Vec<String> = match &node.value {
            Php::Text(text) => vec![text.clone()],
            _ => node
                .entries()
                .filter_map(|(_, entry)| entry.text())
                .collect(),
        };
        let texts: Vec<&str> = texts.iter().map(|text| text.trim()).collect();
        let hosts: Vec<Value> = texts
            .iter()
            .filter(|text| !text.is_empty())
            .map(|text| Value::new(None, *text))
            .collect();
        // the stock file's `*` is nobody's choice: REVERB_ALLOWED_ORIGINS may say more
        if !hosts.is_empty() && !texts.contains(&"*") {
            let origin = self.origin(node);
            let value = Value::new(Some(&origin), ValueKind::Array(hosts));
            table.insert("allowed_origins".to_owned(), value);
        }
    }

    fn client_events(&mut self, app: &Node, table: &mut Table) {
        let node = app.get(&["accept_client_events_from"]);
        let word = match node.map(|node| &node.value) {
            Some(Php::Unknown(_)) => return,
            // files from before Reverb 1.8 don't have the key
            None | Some(Php::Null) if self.client_events_are_set => return,
            None | Some(Php::Null) => "all",
            Some(Php::Text(text)) if text == "all" => "all",
            Some(Php::Text(text)) if text == "members" => "members",
            Some(_) => "none",
        };
        let origin = self.origin(node.unwrap_or(app));
        let value = Value::new(Some(&origin), word);
        table.insert("client_events".to_owned(), value);
    }

    fn rate_limit(&mut self, app: &Node, table: &mut Table) {
        let Some(limit) = app.get(&["rate_limiting"]) else {
            return;
        };
        let mut set = |reader: &Self, setting: &str, node: &Node, value: ValueKind| {
            let origin = reader.origin(node);
            table.insert(setting.to_owned(), Value::new(Some(&origin), value));
        };
        if let Some(node) = limit.get(&["enabled"]) {
            // Reverb compares with `=== true`
            let is_on = node.value == Php::Bool(true);
            set(self, "message_rate_limit", node, ValueKind::Boolean(is_on));
        }
        if let Some(node) = limit.get(&["terminate_on_limit"]) {
            let is_on = node.value.is_truthy();
            set(
                self,
                "message_rate_terminate",
                node,
                ValueKind::Boolean(is_on),
            );
        }
        let numbers = [
            ("max_attempts", "message_rate_attempts_max"),
            ("decay_seconds", "message_rate_decay_s"),
        ];
        for (key, setting) in numbers {
            if let (Some((value, _)), Some(node)) = (self.value(limit, key), limit.get(&[key])) {
                set(self, setting, node, value);
            }
        }
    }
}

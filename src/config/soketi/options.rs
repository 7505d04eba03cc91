//! Every option soketi has, with its variable and what it is here. Facts of soketi 1.6: its `src/cli/cli.ts` and `src/server.ts`.

/// One option of soketi.
#[derive(Debug)]
pub(super) struct SoketiOption {
    /// the variable without `SOKETI_`; empty when only the file has it
    pub(super) variable: &'static str,
    /// `eventLimits.maxBatchSize`: its path in the JSON file
    pub(super) path: &'static str,
    pub(super) meaning: Meaning,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Meaning {
    /// the same as this setting
    Setting(&'static str, Kind),
    /// a field of the first app
    App,
    /// the list of apps
    Apps,
    /// where apps are kept: only in the configuration itself
    AppManager,
    /// what an instance does: a queue worker has nothing to do here
    Mode,
    /// soketi's metrics under soketi's names
    Metrics,
    /// how several servers share their channels
    Adapter,
    /// where that adapter's Redis is
    Redis(RedisPart),
    /// seconds for signing in, for those apps that ask for it
    SigninTimeout,
    /// There is nothing like it; any value but soketi's own default is worth a warning that says this.
    NoEqual {
        /// as JSON
        default: &'static str,
        why: &'static str,
    },
    /// Goes with another option or concerns what doesn't exist here: nothing to warn of at start.
    Unused(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RedisPart {
    /// the same as this setting of `[cluster]`
    Setting(&'static str, Kind),
    KeyPrefix,
    Prefix,
    Sentinels,
    Nodes,
    /// the nodes count, and no other server
    ClusterMode,
    Tls,
    /// of the client's; TLS is among them
    Options,
}

/// How soketi's value becomes a setting's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// a whole number from 0
    Whole,
    /// a whole number from 1, or -1 for none
    Limit,
    /// KiB, with fractions, to bytes
    Kilobytes,
    /// MiB, with fractions, to bytes
    Megabytes,
    /// milliseconds, rounded up to seconds
    Seconds,
    Switch,
    /// on: log level `debug`
    Debug,
    /// on: members may send client events; off: nobody
    ClientMessages,
}

use Kind::{Kilobytes, Megabytes, Seconds, Switch, Text, Whole};
use Meaning::{
    Adapter, App, AppManager, Apps, Metrics, Mode, NoEqual, Redis, Setting, SigninTimeout, Unused,
};

const ADAPTER: &str = "it belongs to an adapter that isn't here";
const ASKING: &str = "other servers are not asked: what they share is in Redis";
const CLUSTER: &str = "nodes don't look for each other: what they share is in Redis";
const REDIS: &str = "only the adapter uses Redis";
const CACHE: &str =
    "cached events are in Redis if the adapter is redis, and otherwise in the process";
const SQL: &str = "apps are not read from a database";
const IN_PROCESS: &str = "it is kept in the process";
const QUEUE: &str = "webhooks wait in the process and are sent from there";
const CORS: &str = "the answers of the HTTP API always have the same CORS headers";
const METRICS: &str = "metrics are there for Prometheus only";

const fn option(variable: &'static str, path: &'static str, meaning: Meaning) -> SoketiOption {
    SoketiOption {
        variable,
        path,
        meaning,
    }
}

const fn setting(
    variable: &'static str,
    path: &'static str,
    key: &'static str,
    kind: Kind,
) -> SoketiOption {
    option(variable, path, Setting(key, kind))
}

const fn no_equal(
    variable: &'static str,
    path: &'static str,
    default: &'static str,
    why: &'static str,
) -> SoketiOption {
    option(variable, path, NoEqual { default, why })
}

const fn unused(variable: &'static str, path: &'static str, why: &'static str) -> SoketiOption {
    option(variable, path, Unused(why))
}

const fn redis(
    variable: &'static str,
    path: &'static str,
    key: &'static str,
    kind: Kind,
) -> SoketiOption {
    option(variable, path, Redis(RedisPart::Setting(key, kind)))
}

/// The fields of the first app that have variables: name and field.
const fn app(variable: &'static str, path: &'static str) -> SoketiOption {
    option(variable, path, App)
}

/// Every option. Paths that are the beginning of others (`appManager.array.apps`) come last.
#[rustfmt::skip] // a table
pub(super) static OPTIONS: &[SoketiOption] = &[
    setting("HOST", "host", "server.host", Text),
    setting("PORT", "port", "server.port", Whole),
    setting("PATH_PREFIX", "pathPrefix", "server.path", Text),
    setting("DEBUG", "debug", "log.level", Kind::Debug),
    option("MODE", "mode", Mode),
    setting("SHUTDOWN_GRACE_PERIOD", "shutdownGracePeriod", "server.drain_s", Seconds),
    option("USER_AUTHENTICATION_TIMEOUT", "userAuthenticationTimeout", SigninTimeout),

    setting("SSL_CERT", "ssl.certPath", "tls.certificate", Text),
    setting("SSL_KEY", "ssl.keyPath", "tls.key", Text),
    no_equal("SSL_PASS", "ssl.passphrase", "\"\"", "the file of the private key must not be encrypted"),
    no_equal("SSL_CA", "ssl.caPath", "\"\"", "intermediate certificates belong into the file of the certificate, after it"),

    setting("CHANNEL_LIMITS_MAX_NAME_LENGTH", "channelLimits.maxNameLength", "app_defaults.channel_name_chars_max", Whole),
    setting("CHANNEL_CACHE_TTL", "channelLimits.cacheTtl", "app_defaults.cache_ttl_s", Whole),
    setting("EVENT_MAX_BATCH_SIZE", "eventLimits.maxBatchSize", "app_defaults.batch_events_max", Whole),
    setting("EVENT_MAX_CHANNELS_AT_ONCE", "eventLimits.maxChannelsAtOnce", "app_defaults.channels_per_event_max", Whole),
    setting("EVENT_MAX_NAME_LENGTH", "eventLimits.maxNameLength", "app_defaults.event_name_chars_max", Whole),
    setting("EVENT_MAX_SIZE_IN_KB", "eventLimits.maxPayloadInKb", "app_defaults.event_data_bytes_max", Kilobytes),
    setting("PRESENCE_MAX_MEMBERS", "presence.maxMembersPerChannel", "app_defaults.presence_members_max", Kind::Limit),
    setting("PRESENCE_MAX_MEMBER_SIZE", "presence.maxMemberSizeInKb", "app_defaults.presence_user_info_bytes_max", Kilobytes),
    setting("", "httpApi.requestLimitInMb", "server.request_bytes_max", Megabytes),
    no_equal("HTTP_ACCEPT_TRAFFIC_MEMORY_THRESHOLD", "httpApi.acceptTraffic.memoryThreshold", "85", "readiness doesn't depend on memory"),

    setting("WEBHOOKS_BATCHING", "webhooks.batching.enabled", "webhook.batching", Switch),
    setting("WEBHOOKS_BATCHING_DURATION", "webhooks.batching.duration", "webhook.batch_ms", Whole),

    option("METRICS_ENABLED", "metrics.enabled", Metrics),
    no_equal("METRICS_DRIVER", "metrics.driver", "\"prometheus\"", METRICS),
    setting("METRICS_HOST", "metrics.host", "admin.host", Text),
    setting("METRICS_SERVER_PORT", "metrics.port", "admin.port", Whole),
    setting("METRICS_PROMETHEUS_PREFIX", "metrics.prometheus.prefix", "admin.soketi_prefix", Text),

    app("DEFAULT_APP_ID", "appManager.array.apps.0.id"),
    app("DEFAULT_APP_KEY", "appManager.array.apps.0.key"),
    app("DEFAULT_APP_SECRET", "appManager.array.apps.0.secret"),
    app("DEFAULT_APP_ENABLED", "appManager.array.apps.0.enabled"),
    app("DEFAULT_APP_MAX_CONNS", "appManager.array.apps.0.maxConnections"),
    app("DEFAULT_APP_ENABLE_CLIENT_MESSAGES", "appManager.array.apps.0.enableClientMessages"),
    app("DEFAULT_APP_MAX_BACKEND_EVENTS_PER_SEC", "appManager.array.apps.0.maxBackendEventsPerSecond"),
    app("DEFAULT_APP_MAX_CLIENT_EVENTS_PER_SEC", "appManager.array.apps.0.maxClientEventsPerSecond"),
    app("DEFAULT_APP_MAX_READ_REQ_PER_SEC", "appManager.array.apps.0.maxReadRequestsPerSecond"),
    app("DEFAULT_APP_USER_AUTHENTICATION", "appManager.array.apps.0.enableUserAuthentication"),
    app("DEFAULT_APP_WEBHOOKS", "appManager.array.apps.0.webhooks"),
    option("APP_MANAGER_DRIVER", "appManager.driver", AppManager),
    unused("APP_MANAGER_CACHE_ENABLED", "appManager.cache.enabled", SQL),
    unused("APP_MANAGER_CACHE_TTL", "appManager.cache.ttl", SQL),
    unused("APP_MANAGER_DYNAMODB_TABLE", "appManager.dynamodb.table", SQL),
    unused("APP_MANAGER_DYNAMODB_REGION", "appManager.dynamodb.region", SQL),
    unused("APP_MANAGER_DYNAMODB_ENDPOINT", "appManager.dynamodb.endpoint", SQL),
    unused("APP_MANAGER_MYSQL_TABLE", "appManager.mysql.table", SQL),
    unused("APP_MANAGER_MYSQL_VERSION", "appManager.mysql.version", SQL),
    unused("APP_MANAGER_MYSQL_USE_V2", "appManager.mysql.useMysql2", SQL),
    unused("APP_MANAGER_POSTGRES_TABLE", "appManager.postgres.table", SQL),
    unused("APP_MANAGER_POSTGRES_VERSION", "appManager.postgres.version", SQL),
    unused("DB_POOLING_ENABLED", "databasePooling.enabled", SQL),
    unused("DB_POOLING_MIN", "databasePooling.min", SQL),
    unused("DB_POOLING_MAX", "databasePooling.max", SQL),
    unused("DB_MYSQL_HOST", "database.mysql.host", SQL),
    unused("DB_MYSQL_PORT", "database.mysql.port", SQL),
    unused("DB_MYSQL_USERNAME", "database.mysql.user", SQL),
    unused("DB_MYSQL_PASSWORD", "database.mysql.password", SQL),
    unused("DB_MYSQL_DATABASE", "database.mysql.database", SQL),
    unused("DB_POSTGRES_HOST", "database.postgres.host", SQL),
    unused("DB_POSTGRES_PORT", "database.postgres.port", SQL),
    unused("DB_POSTGRES_USERNAME", "database.postgres.user", SQL),
    unused("DB_POSTGRES_PASSWORD", "database.postgres.password", SQL),
    unused("DB_POSTGRES_DATABASE", "database.postgres.database", SQL),

    option("ADAPTER_DRIVER", "adapter.driver", Adapter),
    unused("ADAPTER_CLUSTER_REQUESTS_TIMEOUT", "adapter.cluster.requestsTimeout", ADAPTER),
    option("ADAPTER_REDIS_PREFIX", "adapter.redis.prefix", Redis(RedisPart::Prefix)),
    option("ADAPTER_REDIS_CLUSTER_MODE", "adapter.redis.clusterMode", Redis(RedisPart::ClusterMode)),
    unused("ADAPTER_REDIS_REQUESTS_TIMEOUT", "adapter.redis.requestsTimeout", ASKING),
    option("ADAPTER_REDIS_SUB_OPTIONS", "adapter.redis.redisSubOptions", Redis(RedisPart::Options)),
    option("ADAPTER_REDIS_PUB_OPTIONS", "adapter.redis.redisPubOptions", Redis(RedisPart::Options)),
    unused("ADAPTER_NATS_PREFIX", "adapter.nats.prefix", ADAPTER),
    unused("ADAPTER_NATS_SERVERS", "adapter.nats.servers", ADAPTER),
    unused("ADAPTER_NATS_USER", "adapter.nats.user", ADAPTER),
    unused("ADAPTER_NATS_PASSWORD", "adapter.nats.pass", ADAPTER),
    unused("ADAPTER_NATS_TOKEN", "adapter.nats.token", ADAPTER),
    unused("ADAPTER_NATS_TIMEOUT", "adapter.nats.timeout", ADAPTER),
    unused("ADAPTER_NATS_REQUESTS_TIMEOUT", "adapter.nats.requestsTimeout", ADAPTER),
    unused("ADAPTER_NATS_NODES_NUMBER", "adapter.nats.nodesNumber", ADAPTER),
    unused("CLUSTER_CHECK_INTERVAL", "cluster.checkInterval", CLUSTER),
    unused("CLUSTER_HOST", "cluster.hostname", CLUSTER),
    unused("CLUSTER_IGNORE_PROCESS", "cluster.ignoreProcess", CLUSTER),
    unused("CLUSTER_BROADCAST_ADDRESS", "cluster.broadcast", CLUSTER),
    unused("CLUSTER_KEEPALIVE_INTERVAL", "cluster.helloInterval", CLUSTER),
    unused("CLUSTER_MASTER_TIMEOUT", "cluster.masterTimeout", CLUSTER),
    unused("CLUSTER_MULTICAST_ADDRESS", "cluster.multicast", CLUSTER),
    unused("CLUSTER_NODE_TIMEOUT", "cluster.nodeTimeout", CLUSTER),
    unused("CLUSTER_PORT", "cluster.port", CLUSTER),
    unused("CLUSTER_PREFIX", "cluster.prefix", CLUSTER),
    unused("CLUSTER_UNICAST_ADDRESSES", "cluster.unicast", CLUSTER),
    redis("DB_REDIS_HOST", "database.redis.host", "cluster.host", Text),
    redis("DB_REDIS_PORT", "database.redis.port", "cluster.port", Whole),
    redis("DB_REDIS_DB", "database.redis.db", "cluster.database", Whole),
    redis("DB_REDIS_USERNAME", "database.redis.username", "cluster.username", Text),
    redis("DB_REDIS_PASSWORD", "database.redis.password", "cluster.password", Text),
    option("DB_REDIS_KEY_PREFIX", "database.redis.keyPrefix", Redis(RedisPart::KeyPrefix)),
    option("DB_REDIS_SENTINELS", "database.redis.sentinels", Redis(RedisPart::Sentinels)),
    redis("DB_REDIS_SENTINEL_PASSWORD", "database.redis.sentinelPassword", "cluster.sentinel_password", Text),
    option("DB_REDIS_CLUSTER_NODES", "database.redis.clusterNodes", Redis(RedisPart::Nodes)),
    option("", "database.redis.tls", Redis(RedisPart::Tls)),
    redis("DB_REDIS_INSTANCE_NAME", "database.redis.name", "cluster.sentinel_master", Text),
    no_equal("CACHE_DRIVER", "cache.driver", "\"memory\"", CACHE),
    unused("CACHE_REDIS_CLUSTER_MODE", "cache.redis.clusterMode", REDIS),
    unused("CACHE_REDIS_OPTIONS", "cache.redis.redisOptions", REDIS),
    no_equal("RATE_LIMITER_DRIVER", "rateLimiter.driver", "\"local\"", IN_PROCESS),
    unused("RATE_LIMITER_REDIS_OPTIONS", "rateLimiter.redis.redisOptions", REDIS),
    unused("RATE_LIMITER_REDIS_CLUSTER_MODE", "rateLimiter.redis.clusterMode", REDIS),
    no_equal("QUEUE_DRIVER", "queue.driver", "\"sync\"", QUEUE),
    unused("QUEUE_REDIS_CONCURRENCY", "queue.redis.concurrency", QUEUE),
    unused("QUEUE_REDIS_OPTIONS", "queue.redis.redisOptions", QUEUE),
    unused("QUEUE_REDIS_CLUSTER_MODE", "queue.redis.clusterMode", QUEUE),
    unused("QUEUE_SQS_REGION", "queue.sqs.region", QUEUE),
    unused("QUEUE_SQS_CLIENT_OPTIONS", "queue.sqs.clientOptions", QUEUE),
    unused("QUEUE_SQS_URL", "queue.sqs.queueUrl", QUEUE),
    unused("QUEUE_SQS_ENDPOINT", "queue.sqs.endpoint", QUEUE),
    unused("QUEUE_SQS_PROCESS_BATCH", "queue.sqs.processBatch", QUEUE),
    unused("QUEUE_SQS_BATCH_SIZE", "queue.sqs.batchSize", QUEUE),
    unused("QUEUE_SQS_POLLING_WAIT_TIME_MS", "queue.sqs.pollingWaitTimeMs", QUEUE),
    unused("", "queue.sqs.consumerOptions", QUEUE),

    unused("", "cors.credentials", CORS),
    no_equal("", "cors.origin", "[\"*\"]", "it doesn't restrict who may connect: app_defaults.allowed_origins does"),
    unused("", "cors.methods", CORS),
    unused("", "cors.allowedHeaders", CORS),
    unused("", "instance.process_id", "processes need no name"),

    option("", "appManager.array.apps", Apps),
];

/// A field of an app: its three spellings (the last one present counts) and the setting it is.
pub(super) struct AppField {
    pub(super) spellings: [&'static str; 3],
    pub(super) meaning: AppMeaning,
}

#[derive(Clone, Copy)]
pub(super) enum AppMeaning {
    /// id, key, secret
    Part(&'static str),
    Setting(&'static str, Kind),
    /// on: must sign in within the time for it
    Signin,
    Webhooks,
}

const fn field(spellings: [&'static str; 3], key: &'static str, kind: Kind) -> AppField {
    AppField {
        spellings,
        meaning: AppMeaning::Setting(key, kind),
    }
}

const fn special(spellings: [&'static str; 3], meaning: AppMeaning) -> AppField {
    AppField { spellings, meaning }
}

/// Every field of an app. The first spelling is the one messages use.
#[rustfmt::skip] // a table
pub(super) static APP_FIELDS: &[AppField] = &[
    special(["id", "AppId", "AppId"], AppMeaning::Part("id")),
    special(["key", "AppKey", "AppKey"], AppMeaning::Part("key")),
    special(["secret", "AppSecret", "AppSecret"], AppMeaning::Part("secret")),
    field(["enabled", "Enabled", "Enabled"], "enabled", Switch),
    field(["maxConnections", "MaxConnections", "max_connections"], "connections_max", Kind::Limit),
    field(["enableClientMessages", "EnableClientMessages", "enable_client_messages"], "client_events", Kind::ClientMessages),
    field(["maxBackendEventsPerSecond", "MaxBackendEventsPerSecond", "max_backend_events_per_sec"], "backend_events_per_s", Kind::Limit),
    field(["maxClientEventsPerSecond", "MaxClientEventsPerSecond", "max_client_events_per_sec"], "client_events_per_s", Kind::Limit),
    field(["maxReadRequestsPerSecond", "MaxReadRequestsPerSecond", "max_read_req_per_sec"], "read_requests_per_s", Kind::Limit),
    special(["webhooks", "Webhooks", "Webhooks"], AppMeaning::Webhooks),
    field(["maxPresenceMembersPerChannel", "MaxPresenceMembersPerChannel", "max_presence_members_per_channel"], "presence_members_max", Kind::Limit),
    field(["maxPresenceMemberSizeInKb", "MaxPresenceMemberSizeInKb", "max_presence_member_size_in_kb"], "presence_user_info_bytes_max", Kilobytes),
    field(["maxChannelNameLength", "MaxChannelNameLength", "max_channel_name_length"], "channel_name_chars_max", Whole),
    field(["maxEventChannelsAtOnce", "MaxEventChannelsAtOnce", "max_event_channels_at_once"], "channels_per_event_max", Whole),
    field(["maxEventNameLength", "MaxEventNameLength", "max_event_name_length"], "event_name_chars_max", Whole),
    field(["maxEventPayloadInKb", "MaxEventPayloadInKb", "max_event_payload_in_kb"], "event_data_bytes_max", Kilobytes),
    field(["maxEventBatchSize", "MaxEventBatchSize", "max_event_batch_size"], "batch_events_max", Whole),
    special(["enableUserAuthentication", "EnableUserAuthentication", "enable_user_authentication"], AppMeaning::Signin),
];

//! Apps by id and by key: secrets, limits, flags.
use crate::protocol::signature::Secret;
use std::{collections::HashMap, sync::Arc};

/// Who may send client events (E-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvents {
    Members,
    All,
    None,
}

/// Reverb's message rate limit: every client message of a connection counts (laravel.md 4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRateLimit {
    pub max_attempts: u32,
    pub decay_s: u32,
    pub terminate: bool,
}

/// One application. 0 or `None` in a limit means "no limit" where the field says so.
#[derive(Clone, Debug)]
pub struct App {
    /// position in the configuration; names the app inside the process
    pub index: u32,
    pub id: String,
    pub key: String,
    pub secret: Secret,
    pub enabled: bool,
    pub require_tls: bool,
    /// empty = every origin (C-9)
    pub allowed_origins: Vec<String>,
    pub client_events: ClientEvents,
    pub activity_timeout_s: u32,
    pub ping_interval_s: u32,
    pub pong_timeout_s: u32,
    pub limits: AppLimits,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppLimits {
    pub connections_max: Option<u32>,
    /// channels of the app that exist at one time on this node
    pub channels_max: usize,
    pub channels_per_connection_max: usize,
    pub message_bytes_max: usize,
    pub message_rate: Option<MessageRateLimit>,
    pub client_events_per_s: Option<u32>,
    pub client_event_data_bytes_max: usize,
    pub channel_name_chars_max: usize,
    pub event_name_chars_max: usize,
    pub event_data_bytes_max: usize,
    pub channels_per_event_max: usize,
    pub batch_events_max: usize,
    pub presence_members_max: Option<u32>,
    pub presence_user_id_chars_max: usize,
    pub presence_user_info_bytes_max: usize,
    pub cache_ttl_s: u32,
    /// 0 = request timestamps are not checked
    pub timestamp_window_s: u64,
}

/// All apps, immutable.
#[derive(Debug)]
pub struct Apps {
    by_id: HashMap<String, Arc<App>>,
    by_key: HashMap<String, Arc<App>>,
}
impl Apps {
    /// Ids and keys are unique (checked by `config`).
    pub fn new(apps: Vec<App>) -> Apps {
        let apps: Vec<Arc<App>> = apps.into_iter().map(Arc::new).collect();
        Apps {
            by_id: apps
                .iter()
                .map(|app| (app.id.clone(), app.clone()))
                .collect(),
            by_key: apps
                .iter()
                .map(|app| (app.key.clone(), app.clone()))
                .collect(),
        }
    }
    pub fn by_id(&self, id: &str) -> Option<&Arc<App>> {
        self.by_id.get(id)
    }
    pub fn by_key(&self, key: &str) -> Option<&Arc<App>> {
        self.by_key.get(key)
    }
    pub fn iter(&self) -> impl Iterator<Item = &Arc<App>> {
        self.by_id.values()
    }
}

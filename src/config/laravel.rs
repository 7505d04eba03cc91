//! What the Laravel app beside the server says of itself: how PHP and browsers are to reach the server (where PHP posts and where browsers connect are two pairs of variables).

use std::path::PathBuf;

/// The app's side of the settings, as far as it was found. The server itself needs none of it; the warnings at start,
/// the welcome text and `resound doctor` do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaravelApp {
    /// the project's folder
    pub folder: PathBuf,
    /// where the values come from: `.env`, `.env.production`, `bootstrap/cache/config.php`
    pub source: String,
    /// `BROADCAST_CONNECTION` (or the older `BROADCAST_DRIVER`): `reverb`, `pusher`, `log`, `null`, …
    pub broadcaster: Option<String>,
    /// where PHP posts events: `REVERB_HOST` or `PUSHER_HOST`, by the broadcaster
    pub host: Option<String>,
    pub port: Option<u16>,
    /// `http` or `https`
    pub scheme: Option<String>,
    /// path prefix that PHP puts in front of `/apps`
    pub path: Option<String>,
    /// the app that PHP signs for
    pub app_id: Option<String>,
    pub app_key: Option<String>,
    pub app_url: Option<String>,
    /// what is compiled into the JavaScript: `VITE_REVERB_…` or `VITE_PUSHER_…`
    pub browser: Browser,
    /// `QUEUE_CONNECTION`: who sends what is to be broadcast
    pub queue: Option<String>,
}

/// Where browsers connect, from the `VITE_` variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Browser {
    pub key: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub scheme: Option<String>,
}

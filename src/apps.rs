//! Apps by id and by key: secrets, limits, flags, webhooks.
pub mod address;
pub mod webhook;

use self::webhook::Webhook;
use crate::{protocol::signature::Secret, rate::Window};
use std::{
    collections::HashMap,
    net::Ipv6Addr,
    sync::{Arc, Mutex, atomic::AtomicUsize},
    time::Duration,
};

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
    /// names the app inside the process; given by [`Apps`], the same as long as the process lives, never used again
    pub index: u32,
    pub id: String,
    pub key: String,
    pub secret: Secret,
    pub enabled: bool,
    pub require_tls: bool,
    /// empty = every origin (C-9)
    pub allowed_origins: Vec<String>,
    /// whether clients without an `Origin` header may connect although there is a list
    pub allow_missing_origin: bool,
    pub client_events: ClientEvents,
    pub activity_timeout_s: u32,
    pub ping_interval_s: u32,
    pub pong_timeout_s: u32,
    pub users: UserSettings,
    pub subscription_count: SubscriptionCount,
    pub limits: AppLimits,
    /// where events of the app are told (W-13)
    pub webhooks: Vec<Arc<Webhook>>,
    /// what the app has in use now; shared by all versions of the app, so that it outlives a reload
    pub usage: Arc<AppUsage>,
}

/// What counts towards an app's limits.
#[derive(Debug, Default)]
pub struct AppUsage {
    /// open connections (C-10)
    pub connections: AtomicUsize,
    /// channels in existence, the server's own not counted
    pub channels: AtomicUsize,
    /// towards `backend_events_per_s`
    pub backend_events: Mutex<Window>,
    /// towards `read_requests_per_s`
    pub read_requests: Mutex<Window>,
}

/// What signed-in users get (part 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserSettings {
    /// whether clients may sign in (U-6)
    pub authentication: bool,
    /// how long a connection may be neither signed in nor on a channel that needs a signature (C-36)
    pub authorization_timeout_s: Option<u32>,
    /// U-20
    pub watchlist: bool,
    /// U-24
    pub watchlist_max: usize,
    /// how long a user without connections still counts as online
    pub watchlist_grace: Duration,
}

/// Whether subscribers are told how many they are (S-24, S-27).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionCount {
    Off,
    On,
    OnUnlessEncrypted,
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
    /// events published over HTTP, each counted once for each of its channels
    pub backend_events_per_s: Option<u32>,
    /// requests of the HTTP API that change nothing
    pub read_requests_per_s: Option<u32>,
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

impl App {
    /// Whether a page from this `Origin` may connect (C-9): only the host counts, in any case, whatever its scheme and
    /// port. With a list, an unreadable `Origin` is refused, and a missing one unless the app lets it pass.
    pub fn allows_origin(&self, origin_header: Option<&str>) -> bool {
        let patterns = &self.allowed_origins;
        if patterns.is_empty() || patterns.iter().any(|pattern| pattern == "*") {
            return true;
        }
        let Some(origin) = origin_header else {
            return self.allow_missing_origin;
        };
        origin_host(origin)
            .is_some_and(|host| patterns.iter().any(|pattern| matches(pattern, &host)))
    }
}

/// An entry of `allowed_origins` as [`App::allows_origin`] compares it: a host or a pattern, or a full origin of which
/// the host is kept. `None` when there is no host in it.
pub fn origin_pattern(entry: &str) -> Option<String> {
    let entry = entry.trim();
    let authority = entry.split_once("://").map_or(entry, |(_, rest)| rest);
    // `::1` is a host here, though an `Origin` header would write `[::1]`
    if let Ok(address) = authority.parse::<Ipv6Addr>() {
        return Some(format!("[{address}]"));
    }
    host_of(authority, true)
}

/// The host of an `Origin` header, lower-case. `None` for `null` and for anything that isn't `scheme://host[:port]`.
fn origin_host(origin: &str) -> Option<String> {
    let (scheme, authority) = origin.split_once("://")?;
    let is_scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if scheme.is_empty() || !scheme.bytes().all(is_scheme_byte) {
        return None;
    }
    host_of(authority, false)
}

/// `user@host:port/path` → `host`.
fn host_of(authority: &str, stars: bool) -> Option<String> {
    // browsers take a backslash for a slash
    let end = authority.find(['/', '\\', '?', '#']);
    let end = end.unwrap_or(authority.len());
    let authority = &authority[..end];
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, at)| at);
    let (host, port) = match host_port.find(']') {
        Some(bracket) => host_port.split_at(bracket + 1),
        None => host_port.split_at(host_port.find(':').unwrap_or(host_port.len())),
    };
    let is_port = |text: &str| {
        let digits = text.strip_prefix(':');
        digits.is_some_and(|d| d.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_port_pattern = stars && port == ":*";
    if !(port.is_empty() || is_port(port) || is_port_pattern) {
        return None;
    }
    if let Some(inner) = host.strip_prefix('[') {
        let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    // browsers send other scripts as Punycode, so a host is ASCII
    let is_host_byte = |byte: u8| {
        byte.is_ascii_alphanumeric() || b"-._".contains(&byte) || (stars && byte == b'*')
    };
    let is_host = !host.is_empty() && host.bytes().all(is_host_byte);
    is_host.then(|| host.to_ascii_lowercase())
}

/// Whether the whole host matches; `*` is any run of characters, dots included.
fn matches(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (pattern.as_bytes(), host.as_bytes());
    let (mut p, mut h) = (0, 0);
    // where to go on when the text after the last star doesn't fit: (after the star, first byte it doesn't cover yet)
    let mut retry: Option<(usize, usize)> = None;
    while h < host.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, h));
        } else if pattern
            .get(p)
            .is_some_and(|byte| byte.eq_ignore_ascii_case(&host[h]))
        {
            p += 1;
            h += 1;
        } else if let Some((after_star, covered)) = retry {
            p = after_star;
            h = covered + 1;
            retry = Some((after_star, h));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// All apps of one version of the settings, immutable.
#[derive(Debug, Default)]
pub struct Apps {
    all: Vec<Arc<App>>,
    by_id: HashMap<String, Arc<App>>,
    by_key: HashMap<String, Arc<App>>,
    /// by id, of every app there has been since the start
    known: HashMap<String, Known>,
    /// likewise, by index; the app itself unless these settings miss it
    places: Vec<(Arc<AppUsage>, Option<Arc<App>>)>,
}

/// What an app keeps from one version of the settings to the next, even if it is missing in between.
#[derive(Clone, Debug)]
struct Known {
    index: u32,
    usage: Arc<AppUsage>,
}

impl Apps {
    /// Ids and keys are unique (checked by `config`).
    pub fn new(apps: Vec<App>) -> Apps {
        Apps::default().succeeded_by(apps)
    }

    /// The apps of new settings. Whoever had an index keeps it, and what it has in use.
    pub fn succeeded_by(&self, mut apps: Vec<App>) -> Apps {
        let mut known = self.known.clone();
        for app in &mut apps {
            let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
            let kept = known.entry(app.id.clone()).or_insert_with(|| Known {
                index: next,
                usage: app.usage.clone(),
            });
            app.index = kept.index;
            app.usage = kept.usage.clone();
        }
        let all: Vec<Arc<App>> = apps.into_iter().map(Arc::new).collect();
        let index = |name: fn(&App) -> &String| {
            let named = all.iter().map(|app| (name(app).clone(), app.clone()));
            named.collect()
        };
        let (by_id, by_key) = (index(|app| &app.id), index(|app| &app.key));
        let mut places: Vec<_> = self.places.iter().map(|(u, _)| (u.clone(), None)).collect();
        for app in &all {
            let place = usize::try_from(app.index).unwrap_or(usize::MAX);
            match places.get_mut(place) {
                Some((_, known)) => *known = Some(app.clone()),
                // they are in the order in which they got their indexes
                None => places.push((app.usage.clone(), Some(app.clone()))),
            }
        }
        Apps {
            by_id,
            by_key,
            all,
            known,
            places,
        }
    }

    pub fn by_index(&self, index: u32) -> Option<&Arc<App>> {
        let place = self.places.get(usize::try_from(index).ok()?)?;
        place.1.as_ref()
    }

    /// What an app has in use that these settings may miss: its connections and channels are still there.
    pub fn usage(&self, index: u32) -> Option<&Arc<AppUsage>> {
        let place = self.places.get(usize::try_from(index).ok()?)?;
        Some(&place.0)
    }

    /// The same of every app there has been since the start, by id.
    pub fn usages(&self) -> impl Iterator<Item = (&str, &Arc<AppUsage>)> {
        let known = self.known.iter();
        known.map(|(id, known)| (id.as_str(), &known.usage))
    }

    pub fn by_id(&self, id: &str) -> Option<&Arc<App>> {
        self.by_id.get(id)
    }

    /// Keys are compared exactly (C-1).
    pub fn by_key(&self, key: &str) -> Option<&Arc<App>> {
        self.by_key.get(key)
    }

    /// In the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<App>> {
        self.all.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    fn app(allowed_origins: &[&str]) -> App {
        let mut settings = crate::config::from_toml("").expect("defaults");
        let mut app = settings.apps.remove(0);
        app.allowed_origins = allowed_origins
            .iter()
            .map(|entry| origin_pattern(entry).expect(entry))
            .collect();
        app
    }

    #[test]
    fn c9_only_the_host_of_an_origin_counts() {
        let check = |patterns: &[&str], origin: Option<&str>, allowed: bool| {
            let app = app(patterns);
            assert_eq!(
                app.allows_origin(origin),
                allowed,
                "{patterns:?} {origin:?}"
            );
        };
        let one = &["app.example.com"][..];
        check(&[], None, true);
        check(&[], Some("null"), true);
        check(&["*"], None, true);
        check(&["a.com", "*"], Some("rubbish"), true);
        check(one, Some("https://app.example.com"), true);
        check(one, Some("http://APP.example.com:3000"), true);
        check(one, Some("https://user:pw@app.example.com"), true);
        check(one, Some("https://app.example.com@evil.com"), false);
        check(one, Some("https://app.example.com.evil.com"), false);
        check(one, Some("https://evil.com/app.example.com"), false);
        check(one, Some("https://evil.com?app.example.com"), false);
        check(one, Some("https://evil.com\\@app.example.com"), false);
        check(one, Some("https://evil-app.example.com"), false);
        check(one, Some("https://example.com"), false);
        check(one, Some("app.example.com"), false);
        check(one, Some("null"), false);
        check(one, Some(""), false);
        check(one, Some("://app.example.com"), false);
        check(one, Some("https://app.example.com https://b.com"), false);
        check(one, Some("https://app.example.com:x"), false);
        check(one, None, false);
        check(&["localhost:3000"], Some("http://localhost:5173"), true);
        check(
            &["https://APP.example.com:8443/x"],
            Some("http://app.example.com"),
            true,
        );
    }

    #[test]
    fn c9_apps_may_let_clients_without_an_origin_pass() {
        let check = |patterns: &[&str], origin: Option<&str>, allowed: bool| {
            let mut app = app(patterns);
            app.allow_missing_origin = true;
            assert_eq!(
                app.allows_origin(origin),
                allowed,
                "{patterns:?} {origin:?}"
            );
        };
        let one = &["app.example.com"][..];
        check(one, None, true);
        check(one, Some("https://app.example.com"), true);
        for wrong in ["", "null", "https://evil.com", "rubbish"] {
            check(one, Some(wrong), false);
        }
        check(&[], None, true);
    }

    #[test]
    fn c9_a_star_is_any_run_of_characters() {
        let check = |pattern: &str, host: &str, allowed: bool| {
            let origin = format!("https://{host}");
            let app = app(&[pattern]);
            assert_eq!(
                app.allows_origin(Some(&origin)),
                allowed,
                "{pattern} {host}"
            );
        };
        check("*.example.com", "a.example.com", true);
        check("*.example.com", "a.b.example.com", true);
        check("*.example.com", "example.com", false);
        check("*.example.com", "a.example.com.evil.com", false);
        check("*example.com", "example.com", true);
        check("app*", "app", true);
        check("app*", "app.evil.com", true);
        check("a*c*e", "abcde", true);
        check("a*c*e", "abde", false);
        check("*a*b*", "xxaxxbxx", true);
        check("**", "x", true);
        check("192.168.*", "192.168.1.7:8080", true);
    }

    #[test]
    fn c9_addresses_in_brackets() {
        let check = |pattern: &str, origin: &str, allowed: bool| {
            assert_eq!(
                app(&[pattern]).allows_origin(Some(origin)),
                allowed,
                "{pattern} {origin}"
            );
        };
        check("::1", "http://[::1]:8080", true);
        check("[::1]:3000", "http://[0:0:0:0:0:0:0:1]", true);
        check("[::1]", "http://[::2]", false);
        check("[::1]", "http://[::1", false);
        check("[::1]", "http://[::1]evil.com", false);
    }

    #[test]
    fn c9_entries_without_a_host_are_refused() {
        for entry in [
            "",
            " ",
            "https://",
            "/x",
            "a b",
            "münchen.de",
            "[x]",
            "host:port",
        ] {
            assert_eq!(origin_pattern(entry), None, "{entry:?}");
        }
    }

    #[test]
    fn c9_random_origins_are_refused_without_a_panic() {
        let mut random = SmallRng::seed_from_u64(9);
        let app = app(&["app.example.com"]);
        let alphabet: Vec<char> = "ab.:/@[]*\\?#% é\0".chars().collect();
        for _ in 0..20_000 {
            let length = random.random_range(0..24);
            let text: String = (0..length)
                .map(|_| alphabet[random.random_range(0..alphabet.len())])
                .collect();
            assert!(!app.allows_origin(Some(&text)), "{text:?}");
            assert!(
                !app.allows_origin(Some(&format!("http://{text}"))),
                "{text:?}"
            );
            let _ = origin_pattern(&text);
        }
    }

    #[test]
    fn apps_are_found_by_id_and_by_exact_key() {
        let mut first = app(&[]);
        let mut second = first.clone();
        (first.id, first.key) = ("1".into(), "a".into());
        (second.id, second.key) = ("2".into(), "b".into());
        let apps = Apps::new(vec![first, second]);
        assert_eq!(apps.by_id("2").map(|app| app.key.as_str()), Some("b"));
        assert_eq!(apps.by_key("a").map(|app| app.id.as_str()), Some("1"));
        assert!(apps.by_key("A").is_none());
        assert!(apps.by_id("a").is_none());
        let order: Vec<&str> = apps.iter().map(|app| app.id.as_str()).collect();
        assert_eq!(order, ["1", "2"]);
    }

    #[test]
    fn an_app_keeps_its_index_and_usage_through_new_settings() {
        let named = |id: &str| {
            let mut app = app(&[]);
            (app.id, app.key) = (id.into(), format!("key {id}"));
            app
        };
        let index = |apps: &Apps, id: &str| apps.by_id(id).map(|app| app.index);
        let first = Apps::new(vec![named("1"), named("2")]);
        let usage = first.by_id("2").expect("app").usage.clone();
        let second = first.succeeded_by(vec![named("3"), named("2")]);
        assert_eq!(index(&second, "1"), None);
        assert_eq!(index(&second, "2"), Some(1));
        assert_eq!(index(&second, "3"), Some(2));
        assert!(Arc::ptr_eq(&second.by_id("2").expect("app").usage, &usage));
        let third = second.succeeded_by(vec![named("1")]);
        assert_eq!(index(&third, "1"), Some(0));
        let at = |apps: &Apps, index| apps.by_index(index).map(|app| app.id.clone());
        assert_eq!(at(&second, 0), None);
        assert_eq!(at(&second, 2).as_deref(), Some("3"));
        assert_eq!(at(&third, 0).as_deref(), Some("1"));
        assert_eq!(at(&third, 3), None);
        // those of an app that is missing are still counted
        assert!(Arc::ptr_eq(third.usage(1).expect("known"), &usage));
        assert_eq!(third.usages().count(), 3);
    }
}

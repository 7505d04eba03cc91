//! Gate: what one address may do, whatever app it speaks to: connections, handshakes, wrong signatures, lines in the log. Asked
//! once for each handshake, request or failure, never for a message or a delivery.
//!
//! Limits are for clients that have an address of their own ([`Client::network`]); everybody else passes. They come with
//! each call, so that a reload needs nothing here.

mod addresses;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix_http::header::HeaderMap;
use ipnet::IpNet;

use self::addresses::{Addresses, Recent};
use crate::{
    config::LimitSettings,
    peer::{Client, Network, Peer},
    rate::{Bucket, Quota},
};

/// One line in the log about one address is at info in this time, the others at debug.
const LOG_INTERVAL_NS: u64 = 1_000_000_000;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// See the module's documentation.
#[derive(Debug)]
pub struct Gate {
    started: Instant,
    addresses: Addresses,
    refusals: [AtomicU64; Refusal::ALL.len()],
    /// a proxy was seen that nobody trusts, and reported
    is_proxy_reported: AtomicBool,
}

/// Which limit somebody met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `limits.connections_per_address`
    Connections,
    /// `limits.handshakes_per_s_per_address`
    Handshakes,
    /// `limits.auth_failures_per_min_per_address`
    AuthFailures,
    /// `limits.signature_failures_per_min_per_address`
    SignatureFailures,
    /// `backend_events_per_s` of an app
    BackendEvents,
    /// `read_requests_per_s` of an app
    ReadRequests,
}

impl Refusal {
    pub const ALL: [Refusal; 6] = [
        Refusal::Connections,
        Refusal::Handshakes,
        Refusal::AuthFailures,
        Refusal::SignatureFailures,
        Refusal::BackendEvents,
        Refusal::ReadRequests,
    ];

    /// A word for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Connections => "address_connections",
            Refusal::Handshakes => "address_handshakes",
            Refusal::AuthFailures => "address_auth_failures",
            Refusal::SignatureFailures => "address_signature_failures",
            Refusal::BackendEvents => "backend_events",
            Refusal::ReadRequests => "read_requests",
        }
    }
}

/// A connection that counts for its address; dropped, it counts no longer.
#[derive(Debug)]
pub struct Place {
    gate: Arc<Gate>,
    /// `None`: it was never counted
    network: Option<Network>,
}

impl Gate {
    pub fn new() -> Gate {
        Gate {
            started: Instant::now(),
            addresses: Addresses::new(),
            refusals: Default::default(),
            is_proxy_reported: AtomicBool::new(false),
        }
    }

    /// Whose request this is: what limits count and log lines name. Says once, in case it was forgotten, that a proxy
    /// isn't trusted.
    pub fn client(&self, peer: Peer, headers: &HeaderMap, proxies: &[IpNet]) -> Client {
        if peer.is_unheard_proxy(headers, proxies)
            && !self.is_proxy_reported.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                peer = peer.ip().map(tracing::field::display),
                "the X-Forwarded-For of this peer is not believed: if it is a proxy of yours, name it in server.trusted_proxies, so that limits and logs know its clients"
            );
        }
        peer.client(headers, proxies)
    }

    /// Counts a handshake, or says how long until another is taken.
    pub fn handshake(&self, client: Client, limits: &LimitSettings) -> Result<(), Duration> {
        let Some(per_s) = limits.handshakes_per_s_per_address else {
            return Ok(());
        };
        let quota = Quota::new(per_s, SECOND, limits.handshake_burst_per_address);
        self.take(client, limits, quota, Refusal::Handshakes, |recent| {
            &mut recent.handshakes
        })
    }

    /// Counts a connection until the place is dropped; `None` if its address has as many as it may.
    pub fn connect(self: &Arc<Self>, client: Client, limits: &LimitSettings) -> Option<Place> {
        let max = limits.connections_per_address;
        let network = client.network().zip(max);
        if let Some((network, max)) = network
            && !self.addresses.connect(network, max)
        {
            self.count(Refusal::Connections);
            return None;
        }
        Some(Place {
            gate: self.clone(),
            network: network.map(|(network, _)| network),
        })
    }

    /// Counts a signature that was wrong on a connection, of a channel or of a user. `Err`: one too many.
    pub fn auth_failed(&self, client: Client, limits: &LimitSettings) -> Result<(), Duration> {
        let Some(per_min) = limits.auth_failures_per_min_per_address else {
            return Ok(());
        };
        let quota = Quota::new(per_min, MINUTE, per_min);
        self.take(client, limits, quota, Refusal::AuthFailures, |recent| {
            &mut recent.auth_failures
        })
    }

    /// Whether the signature of a request is worth looking at; else how long until it is again. Counts nothing: who signs
    /// correctly may ask as often as they like.
    pub fn check_signer(&self, client: Client, limits: &LimitSettings) -> Result<(), Duration> {
        let per_min = limits.signature_failures_per_min_per_address;
        let Some((network, per_min)) = client.network().zip(per_min) else {
            return Ok(());
        };
        let quota = Quota::new(per_min, MINUTE, per_min);
        let failures = self
            .addresses
            .look(network, |recent| recent.signature_failures);
        let checked = failures.map_or(Ok(()), |failures| failures.check(quota, self.now_ns()));
        checked.inspect_err(|_| self.count(Refusal::SignatureFailures))
    }

    /// Counts a request whose signature was wrong.
    pub fn signature_failed(&self, client: Client, limits: &LimitSettings) {
        let per_min = limits.signature_failures_per_min_per_address;
        if let Some((network, per_min)) = client.network().zip(per_min) {
            let quota = Quota::new(per_min, MINUTE, per_min);
            let now_ns = self.now_ns();
            self.addresses
                .with(network, now_ns, limits.addresses_max, |recent| {
                    // already empty: others were being checked at the same time
                    let _ = recent.signature_failures.take(quota, now_ns);
                });
        }
    }

    /// Whether a refusal of this client is to be logged at info: the first in a second.
    pub fn may_log(&self, client: Client, limits: &LimitSettings) -> bool {
        let Some(network) = client.network() else {
            return true;
        };
        let now_ns = self.now_ns();
        self.addresses
            .with(network, now_ns, limits.addresses_max, |recent| {
                let is_due = recent.quiet_until_ns <= now_ns;
                if is_due {
                    recent.quiet_until_ns = now_ns.saturating_add(LOG_INTERVAL_NS);
                }
                is_due
            })
    }

    /// Notes that a limit was met.
    pub fn count(&self, refusal: Refusal) {
        self.refusals[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often this limit was met since the start.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refusals[refusal as usize].load(Ordering::Relaxed)
    }

    /// Addresses of which something is remembered now, connections aside.
    pub fn addresses(&self) -> usize {
        self.addresses.len()
    }

    fn take(
        &self,
        client: Client,
        limits: &LimitSettings,
        quota: Quota,
        refusal: Refusal,
        bucket: impl FnOnce(&mut Recent) -> &mut Bucket,
    ) -> Result<(), Duration> {
        let Some(network) = client.network() else {
            return Ok(());
        };
        let now_ns = self.now_ns();
        self.addresses
            .with(network, now_ns, limits.addresses_max, |recent| {
                bucket(recent).take(quota, now_ns)
            })
            .inspect_err(|_| self.count(refusal))
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Default for Gate {
    fn default() -> Gate {
        Gate::new()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(network) = self.network {
            self.gate.addresses.disconnect(network);
        }
    }
}

/// The seconds of a `Retry-After`: never too few, and never 0.
pub fn retry_after_s(wait: Duration) -> u64 {
    let whole = wait.as_secs();
    let rest = u64::from(wait.subsec_nanos() > 0);
    (whole + rest).max(1)
}

/// Logs a refusal at info if the first argument is true, else at debug.
macro_rules! log_refusal {
    ($at_info:expr, $($line:tt)+) => {
        if $at_info {
            tracing::info!($($line)+)
        } else {
            tracing::debug!($($line)+)
        }
    };
}
pub(crate) use log_refusal;

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(text: &str) -> LimitSettings {
        let toml = format!("[limits]\n{text}");
        crate::config::from_toml(&toml).expect("settings").limits
    }

    fn client(ip: &str) -> Client {
        Client::At(ip.parse().expect("address"))
    }

    const SOMEBODY: &str = "192.0.2.1";
    const OTHER: &str = "192.0.2.2";
    const ANYBODY: Client = Client::Behind(None);

    #[test]
    fn connections_of_an_address_are_counted_while_they_last() {
        let gate = Arc::new(Gate::new());
        let limits = limits("connections_per_address = 2");
        let first = gate.connect(client(SOMEBODY), &limits).expect("a place");
        let _second = gate.connect(client(SOMEBODY), &limits).expect("a place");
        assert!(gate.connect(client(SOMEBODY), &limits).is_none());
        assert!(gate.connect(client(SOMEBODY), &limits).is_none());
        let _other = gate.connect(client(OTHER), &limits).expect("a place");
        let _crowd: Vec<Place> = (0..10)
            .map(|_| gate.connect(ANYBODY, &limits).expect("a place"))
            .collect();
        drop(first);
        let _third = gate.connect(client(SOMEBODY), &limits).expect("a place");
        assert!(gate.connect(client(SOMEBODY), &limits).is_none());
        assert_eq!(gate.refused(Refusal::Connections), 3);
        assert_eq!(gate.addresses(), 0);
    }

    #[test]
    fn places_taken_before_a_limit_changed_are_given_back_as_they_were_taken() {
        let gate = Arc::new(Gate::new());
        let (off, one) = (
            limits("connections_per_address = 0"),
            limits("connections_per_address = 1"),
        );
        let uncounted = gate.connect(client(SOMEBODY), &off).expect("a place");
        let counted = gate.connect(client(SOMEBODY), &one).expect("a place");
        drop(uncounted);
        assert!(gate.connect(client(SOMEBODY), &one).is_none());
        drop(counted);
        assert!(gate.connect(client(SOMEBODY), &one).is_some());
    }

    #[test]
    fn handshakes_are_taken_up_to_the_burst() {
        let gate = Gate::new();
        let limits = limits("handshakes_per_s_per_address = 1\nhandshake_burst_per_address = 3");
        let started = Instant::now();
        for _ in 0..3 {
            assert_eq!(gate.handshake(client(SOMEBODY), &limits), Ok(()));
        }
        let refused = gate.handshake(client(SOMEBODY), &limits);
        if started.elapsed() < SECOND {
            assert!(refused.is_err_and(|wait| wait <= SECOND));
            assert_eq!(gate.refused(Refusal::Handshakes), 1);
        }
        assert_eq!(gate.handshake(client(OTHER), &limits), Ok(()));
        for _ in 0..100 {
            assert_eq!(gate.handshake(ANYBODY, &limits), Ok(()));
        }
    }

    #[test]
    fn limits_of_0_are_none() {
        let gate = Arc::new(Gate::new());
        let limits = limits(
            "connections_per_address = 0\nhandshakes_per_s_per_address = 0\n\
             auth_failures_per_min_per_address = 0\nsignature_failures_per_min_per_address = 0",
        );
        let somebody = client(SOMEBODY);
        let mut places = Vec::new();
        for _ in 0..20_000 {
            assert_eq!(gate.handshake(somebody, &limits), Ok(()));
            places.extend(gate.connect(somebody, &limits));
            assert_eq!(gate.auth_failed(somebody, &limits), Ok(()));
            gate.signature_failed(somebody, &limits);
            assert_eq!(gate.check_signer(somebody, &limits), Ok(()));
        }
        assert_eq!(places.len(), 20_000);
        assert_eq!(gate.addresses(), 0);
    }

    #[test]
    fn only_failures_count_for_signers() {
        let gate = Gate::new();
        let limits = limits("signature_failures_per_min_per_address = 2");
        let somebody = client(SOMEBODY);
        for _ in 0..100 {
            assert_eq!(gate.check_signer(somebody, &limits), Ok(()));
        }
        assert_eq!(gate.addresses(), 0);
        for _ in 0..5 {
            gate.signature_failed(somebody, &limits);
        }
        let wait = gate.check_signer(somebody, &limits);
        assert!(wait.is_err_and(|wait| wait <= MINUTE / 2), "{wait:?}");
        assert_eq!(gate.check_signer(client(OTHER), &limits), Ok(()));
        assert_eq!(gate.check_signer(ANYBODY, &limits), Ok(()));
        assert_eq!(gate.refused(Refusal::SignatureFailures), 1);
    }

    #[test]
    fn failed_auths_are_limited_by_address() {
        let gate = Gate::new();
        let limits = limits("auth_failures_per_min_per_address = 3");
        for _ in 0..3 {
            assert_eq!(gate.auth_failed(client(SOMEBODY), &limits), Ok(()));
        }
        assert!(gate.auth_failed(client(SOMEBODY), &limits).is_err());
        assert_eq!(gate.auth_failed(client(OTHER), &limits), Ok(()));
        assert_eq!(gate.refused(Refusal::AuthFailures), 1);
    }

    #[test]
    fn an_address_is_loud_once_a_second() {
        let gate = Gate::new();
        let limits = limits("");
        let started = Instant::now();
        assert!(gate.may_log(client(SOMEBODY), &limits));
        let again = gate.may_log(client(SOMEBODY), &limits);
        assert!(!again || started.elapsed() > SECOND);
        assert!(gate.may_log(client(OTHER), &limits));
        assert!(gate.may_log(ANYBODY, &limits) && gate.may_log(ANYBODY, &limits));
    }

    #[test]
    fn retry_after_is_rounded_up() {
        let check = |ms, expected| {
            let wait = Duration::from_millis(ms);
            assert_eq!(retry_after_s(wait), expected, "{ms}");
        };
        check(0, 1);
        check(1, 1);
        check(1000, 1);
        check(1001, 2);
        check(59_999, 60);
    }

    #[test]
    fn every_refusal_has_its_counter() {
        let gate = Gate::new();
        for (number, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, number);
            gate.count(refusal);
            assert_eq!(gate.refused(refusal), 1);
        }
    }
}

//! Who is at the other end of a connection, as the listener that accepted it saw it, and the client behind it, as far as
//! proxies that are trusted name one.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use actix_http::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// Entries of an `X-Forwarded-For` that are looked at, from the right: no real chain of proxies is as long.
const FORWARDED_MAX: usize = 32;

// Parsed once: they are looked for in every request.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const CF_CONNECTING_IP: HeaderName = HeaderName::from_static("cf-connecting-ip");

/// What the listener knows of a connection. HTTP requests and handshakes carry it as connection data
/// (`request.conn_data::<Peer>()`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The address the connection came from: by TCP, or what a PROXY protocol header says; `None` on a Unix socket.
    pub address: Option<SocketAddr>,
    /// the client speaks TLS: to the listener itself, or to a proxy whose PROXY protocol header says so
    pub is_tls: bool,
}

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// somebody at this address
    At(IpAddr),
    /// Anybody: this machine itself, a trusted proxy that named nobody else, or a private network, where containers and
    /// proxies stand between. What holds for one client can't hold here. `None`: a Unix socket.
    Behind(Option<IpAddr>),
}

/// What counts as one address: IPv4 as it is, IPv6 by its /64, which is the least a subscriber has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    V4(u32),
    V6(u64),
}

impl Peer {
    /// What the listener noted; else the transport's own address.
    pub fn of(noted: Option<&Peer>, address: Option<SocketAddr>) -> Peer {
        noted.copied().unwrap_or(Peer {
            address,
            is_tls: false,
        })
    }

    /// IPv4 written as IPv6 is IPv4.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.map(|address| address.ip().to_canonical())
    }

    /// Whether its headers about others are believed. Who may open a Unix socket, may.
    pub fn is_trusted(&self, proxies: &[IpNet]) -> bool {
        self.ip().is_none_or(|ip| is_among(ip, proxies))
    }

    /// Whether it looks like a proxy that was forgotten in the settings: it says whom it forwards, from where no stranger is.
    pub fn is_unheard_proxy(&self, headers: &HeaderMap, proxies: &[IpNet]) -> bool {
        self.ip()
            .is_some_and(|ip| is_private(ip) && !is_among(ip, proxies))
            && headers.contains_key(X_FORWARDED_FOR)
    }

    /// The client: what a trusted proxy says, else the peer. Nobody else's headers count.
    pub fn client(&self, headers: &HeaderMap, proxies: &[IpNet]) -> Client {
        match self.ip() {
            Some(ip) if !is_among(ip, proxies) && is_private(ip) => Client::Behind(Some(ip)),
            Some(ip) if !is_among(ip, proxies) => Client::At(ip),
            peer => forwarded_for(headers, proxies)
                .or_else(|| named_in(headers, X_REAL_IP, proxies))
                .or_else(|| named_in(headers, CF_CONNECTING_IP, proxies))
                .unwrap_or(Client::Behind(peer)),
        }
    }
}

impl Client {
    /// What limits for one address count; `None` where no such limit holds.
    pub fn network(self) -> Option<Network> {
        match self {
            Client::At(IpAddr::V4(ip)) => Some(Network::V4(ip.to_bits())),
            Client::At(IpAddr::V6(ip)) => {
                let [a, b, c, d, ..] = ip.segments().map(u64::from);
                Some(Network::V6(a << 48 | b << 32 | c << 16 | d))
            }
            Client::Behind(_) => None,
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Client::At(ip) | Client::Behind(Some(ip)) => ip.fmt(f),
            Client::Behind(None) => f.write_str("a Unix socket"),
        }
    }
}

fn is_among(ip: IpAddr, networks: &[IpNet]) -> bool {
    networks.iter().any(|network| network.contains(&ip))
}

/// Addresses that nobody on the internet has. 100.64.0.0/10 is a carrier's inside.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let is_carrier = ip.to_bits() >> 22 == Ipv4Addr::new(100, 64, 0, 0).to_bits() >> 22;
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || is_carrier
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// The right-most address of `X-Forwarded-For` that is no trusted proxy: whatever is left of it, anybody may have written.
/// All of them trusted: the left-most. `None` without the header, and when what counts in it is no address.
fn forwarded_for(headers: &HeaderMap, proxies: &[IpNet]) -> Option<Client> {
    let lines = headers.get_all(X_FORWARDED_FOR).rev();
    let entries = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
    let mut nearest_trusted = None;
    for entry in entries.take(FORWARDED_MAX) {
        let ip = address(entry)?;
        if !is_among(ip, proxies) {
            return Some(Client::At(ip));
        }
        nearest_trusted = Some(Client::Behind(Some(ip)));
    }
    nearest_trusted
}

/// The one address in this header. Several headers of this name are none: a proxy sets one.
fn named_in(headers: &HeaderMap, name: HeaderName, proxies: &[IpNet]) -> Option<Client> {
    let mut lines = headers.get_all(name);
    let ip = address(lines.next()?.to_str().ok()?)?;
    if lines.next().is_some() {
        return None;
    }
    Some(match is_among(ip, proxies) {
        true => Client::Behind(Some(ip)),
        false => Client::At(ip),
    })
}

/// `192.0.2.1`, `192.0.2.1:5678` (some load balancers add the port), `2001:db8::1`, `[2001:db8::1]:5678`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let ip = bare.unwrap_or(text).parse().ok();
    let ip = ip.or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()));
    ip.map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_http::header::{HeaderName, HeaderValue};
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    const PROXIES: [&str; 3] = ["127.0.0.0/8", "::1/128", "10.0.0.0/8"];

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("name");
            headers.append(
                name,
                HeaderValue::from_bytes(value.as_bytes()).expect("value"),
            );
        }
        headers
    }

    fn client(peer: &str, lines: &[(&str, &str)]) -> Client {
        let proxies = PROXIES.map(|network| network.parse().expect("network"));
        let address = match peer {
            "unix" => None,
            peer => Some((peer.parse::<IpAddr>().expect("address"), 4711).into()),
        };
        Peer::of(None, address).client(&headers(lines), &proxies)
    }

    #[track_caller]
    fn at(peer: &str, lines: &[(&str, &str)], expected: &str) {
        let expected = Client::At(expected.parse().expect("address"));
        assert_eq!(client(peer, lines), expected, "{peer} {lines:?}");
    }

    #[track_caller]
    fn behind(peer: &str, lines: &[(&str, &str)], expected: Option<&str>) {
        let expected = Client::Behind(expected.map(|ip| ip.parse().expect("address")));
        assert_eq!(client(peer, lines), expected, "{peer} {lines:?}");
    }

    const XFF: &str = "x-forwarded-for";

    #[test]
    fn headers_of_strangers_are_not_believed() {
        for name in [XFF, "x-real-ip", "cf-connecting-ip"] {
            at("192.0.2.1", &[(name, "198.51.100.7")], "192.0.2.1");
            at("192.0.2.1", &[(name, "127.0.0.1")], "192.0.2.1");
            at("2001:db8::1", &[(name, "127.0.0.1")], "2001:db8::1");
            // somebody's container: not trusted, but no single client either
            behind("172.17.0.1", &[(name, "198.51.100.7")], Some("172.17.0.1"));
        }
    }

    #[test]
    fn forgotten_proxies_are_noticed() {
        let check = |peer: &str, name: &str, expected: bool| {
            let proxies = PROXIES.map(|network| network.parse().expect("network"));
            let peer = Peer::of(None, Some((peer.parse::<IpAddr>().expect("ip"), 1).into()));
            let headers = headers(&[(name, "192.0.2.1")]);
            assert_eq!(peer.is_unheard_proxy(&headers, &proxies), expected);
        };
        check("172.17.0.2", XFF, true);
        check("172.17.0.2", "accept", false);
        check("10.0.0.1", XFF, false);
        check("127.0.0.1", XFF, false);
        // anybody may send this header
        check("198.51.100.1", XFF, false);
    }

    #[test]
    fn trusted_proxies_name_the_client() {
        for peer in ["127.0.0.1", "::1", "10.1.2.3", "::ffff:127.0.0.1", "unix"] {
            at(peer, &[(XFF, "198.51.100.7")], "198.51.100.7");
            at(peer, &[("x-real-ip", "198.51.100.7")], "198.51.100.7");
            at(peer, &[("cf-connecting-ip", "2001:db8::1")], "2001:db8::1");
            let all = [
                ("cf-connecting-ip", "192.0.2.3"),
                ("x-real-ip", "192.0.2.2"),
                (XFF, "192.0.2.1"),
            ];
            at(peer, &all, "192.0.2.1");
            at(peer, &all[..2], "192.0.2.2");
        }
        // named by a proxy, a private address is one client
        at("127.0.0.1", &[(XFF, "192.168.1.5")], "192.168.1.5");
    }

    #[test]
    fn the_right_most_stranger_is_the_client() {
        let chain = |chain: &str, expected: &str| at("127.0.0.1", &[(XFF, chain)], expected);
        chain("192.0.2.66, 198.51.100.7", "198.51.100.7");
        chain("127.0.0.1, 198.51.100.7", "198.51.100.7");
        chain("rubbish, 198.51.100.7, 10.9.9.9,127.0.0.1", "198.51.100.7");
        chain("192.0.2.66,198.51.100.7:443", "198.51.100.7");
        chain("[2001:db8::1]:443, 10.0.0.1", "2001:db8::1");
        chain("[2001:db8::1]", "2001:db8::1");
        chain("::ffff:198.51.100.7", "198.51.100.7");
        // several lines are one list
        let lines = [(XFF, "192.0.2.66"), (XFF, "198.51.100.7, 10.0.0.1")];
        at("127.0.0.1", &lines, "198.51.100.7");
        let lines = [(XFF, "192.0.2.66, 198.51.100.7"), (XFF, "10.0.0.1")];
        at("127.0.0.1", &lines, "198.51.100.7");
    }

    #[test]
    fn who_names_nobody_stands_for_many() {
        behind("127.0.0.1", &[], Some("127.0.0.1"));
        behind("::1", &[], Some("::1"));
        behind("unix", &[], None);
        behind("10.0.0.1", &[(XFF, "127.0.0.1")], Some("127.0.0.1"));
        behind(
            "127.0.0.1",
            &[(XFF, "10.0.0.5, 10.0.0.1")],
            Some("10.0.0.5"),
        );
        behind(
            "127.0.0.1",
            &[("x-real-ip", "127.0.0.1")],
            Some("127.0.0.1"),
        );
        for peer in [
            "192.168.1.1",
            "172.16.0.9",
            "100.64.0.1",
            "fd00::1",
            "fe80::1",
        ] {
            behind(peer, &[], Some(peer));
        }
        at("100.128.0.1", &[], "100.128.0.1");
        at("100.63.255.255", &[], "100.63.255.255");
    }

    #[test]
    fn malformed_headers_are_ignored() {
        let long = "1".repeat(60_000);
        let commas = ",".repeat(60_000);
        for text in [
            "",
            " ",
            ",",
            "unknown",
            "1.2.3",
            "1.2.3.4.5",
            "[::1",
            "::1]",
            "_hidden",
            "fe80::1%eth0",
            "1.2.3.4:99999",
            "\u{e9}",
            "for=1.2.3.4",
            &long,
            &commas,
            "198.51.100.7, unknown",
        ] {
            behind("127.0.0.1", &[(XFF, text)], Some("127.0.0.1"));
            let lines = [(XFF, text), ("x-real-ip", "198.51.100.9")];
            at("127.0.0.1", &lines, "198.51.100.9");
            if text.contains(", ") {
                continue;
            }
            behind("127.0.0.1", &[("x-real-ip", text)], Some("127.0.0.1"));
        }
        let twice = [("x-real-ip", "192.0.2.1"), ("x-real-ip", "192.0.2.2")];
        behind("127.0.0.1", &twice, Some("127.0.0.1"));
    }

    #[test]
    fn chains_are_followed_only_so_far() {
        let chain = |proxies: usize| format!("198.51.100.7{}", ",10.0.0.1".repeat(proxies));
        at("127.0.0.1", &[(XFF, &chain(31))], "198.51.100.7");
        behind("127.0.0.1", &[(XFF, &chain(32))], Some("10.0.0.1"));
        behind("127.0.0.1", &[(XFF, &chain(10_000))], Some("10.0.0.1"));
    }

    #[test]
    fn random_headers_never_panic() {
        let mut random = SmallRng::seed_from_u64(14);
        let alphabet: Vec<char> = "0123456789abcf.:,[] %é".chars().collect();
        for _ in 0..20_000 {
            let length = random.random_range(0..40);
            let text: String = (0..length)
                .map(|_| alphabet[random.random_range(0..alphabet.len())])
                .collect();
            client("127.0.0.1", &[(XFF, &text), ("x-real-ip", &text)]);
        }
    }

    #[test]
    fn ipv6_counts_by_its_64() {
        let network = |ip: &str| Client::At(ip.parse().expect("address")).network();
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_ne!(network("0.0.0.1"), network("::"));
        assert_eq!(Client::Behind(None).network(), None);
        assert_eq!(Client::Behind(None).to_string(), "a Unix socket");
    }
}

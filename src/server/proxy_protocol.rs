//! The PROXY protocol: a proxy that passes bytes on says in front of them whose they are. Versions 1 and 2, parsed by `ppp`.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

use std::net::{IpAddr, SocketAddr};

use ppp::{HeaderResult, PartialResult, v1, v2};

/// The longest header that is read. Version 2 allows 64 KiB, but addresses and what proxies add take a few hundred bytes.
const HEADER_BYTES_MAX: usize = 4096;

/// The longest line of version 1, with its end.
const V1_BYTES_MAX: usize = 107;

/// The type of the entry in which a version 2 header tells of TLS, and the bit in it that says the client spoke it.
const TLV_SSL: u8 = 0x20;
const CLIENT_SSL: u8 = 0x01;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// bytes it takes
    pub length: usize,
    /// `None` when the proxy speaks for itself (its health checks) or doesn't know
    pub source: Option<SocketAddr>,
    /// the client spoke TLS to the proxy
    pub is_tls: bool,
}

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error(
        "there is none, but server.proxy_protocol requires one of every peer in server.trusted_proxies; let the proxy send it (HAProxy: send-proxy-v2, nginx: proxy_protocol on), or use server.plain_port on this machine"
    )]
    Missing,
    #[error("it is not valid")]
    Invalid,
    #[error("it is longer than {HEADER_BYTES_MAX} bytes")]
    TooLong,
}

/// The header at the beginning of `bytes`; `None` if more bytes are needed to tell.
pub fn read(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let is_begun = |prefix: &[u8]| {
        let length = prefix.len().min(bytes.len());
        bytes[..length] == prefix[..length]
    };
    if !is_begun(b"PROXY ") && !is_begun(v2::PROTOCOL_PREFIX) {
        return Err(HeaderError::Missing);
    }
    let mut bytes = bytes;
    if bytes[0] == b'P' {
        match bytes.windows(2).position(|end| end == b"\r\n") {
            // To the parser any carriage return ends the line, and what follows it with it.
            Some(at) if bytes[..at].contains(&b'\r') => return Err(HeaderError::Invalid),
            Some(at) => bytes = &bytes[..at + 2],
            None if bytes.len() < V1_BYTES_MAX => return Ok(None),
            None => return Err(HeaderError::TooLong),
        }
    }
    let parsed = HeaderResult::parse(bytes);
    // A line that has its end gets no better by waiting.
    if parsed.is_incomplete() && bytes[0] != b'P' {
        // An announced length is refused before it has arrived.
        return match announced_length(bytes).max(bytes.len()) > HEADER_BYTES_MAX {
            true => Err(HeaderError::TooLong),
            false => Ok(None),
        };
    }
    let header = match parsed {
        HeaderResult::V1(Ok(header)) => of_v1(&header),
        HeaderResult::V2(Ok(header)) => of_v2(&header),
        HeaderResult::V1(Err(v1::BinaryParseError::Parse(v1::ParseError::HeaderTooLong))) => {
            return Err(HeaderError::TooLong);
        }
        _ => return Err(HeaderError::Invalid),
    };
    match header.length > HEADER_BYTES_MAX {
        true => Err(HeaderError::TooLong),
        false => Ok(Some(header)),
    }
}

/// Of version 2: its length stands after 12 bytes of prefix and 2 of kind.
fn announced_length(bytes: &[u8]) -> usize {
    match bytes.get(14..16) {
        Some(&[high, low]) if bytes.starts_with(v2::PROTOCOL_PREFIX) => {
            16 + usize::from(u16::from_be_bytes([high, low]))
        }
        _ => 0,
    }
}

fn of_v1(header: &v1::Header<'_>) -> Header {
    let source = match &header.addresses {
        v1::Addresses::Tcp4(ip) => Some((IpAddr::V4(ip.source_address), ip.source_port)),
        v1::Addresses::Tcp6(ip) => Some((IpAddr::V6(ip.source_address), ip.source_port)),
        v1::Addresses::Unknown => None,
    };
    Header {
        length: header.header.len(),
        source: source.map(SocketAddr::from),
        is_tls: false,
    }
}

fn of_v2(header: &v2::Header<'_>) -> Header {
    let source = match (header.command, &header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => {
            Some((IpAddr::V4(ip.source_address), ip.source_port))
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => {
            Some((IpAddr::V6(ip.source_address), ip.source_port))
        }
        _ => None,
    };
    let is_ssl = |entry: v2::TypeLengthValue<'_>| {
        entry.kind == TLV_SSL
            && entry
                .value
                .first()
                .is_some_and(|bits| bits & CLIENT_SSL != 0)
    };
    Header {
        length: header.len(),
        source: source.map(SocketAddr::from),
        is_tls: header.command == v2::Command::Proxy && header.tlvs().flatten().any(is_ssl),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Option<SocketAddr> {
        Some(text.parse().expect("address"))
    }

    fn v2_header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("length").to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[command, family], &length, rest].concat()
    }

    #[test]
    fn version_1() {
        let check = |header: &str, expected: Option<SocketAddr>| {
            let bytes = [header.as_bytes(), b"GET / HTTP/1.1\r\n"].concat();
            let found = Header {
                length: header.len(),
                source: expected,
                is_tls: false,
            };
            assert_eq!(read(&bytes), Ok(Some(found)), "{header}");
            for cut in 0..header.len() {
                assert_eq!(read(&header.as_bytes()[..cut]), Ok(None), "{cut}");
            }
        };
        check(
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n",
            source("203.0.113.7:56324"),
        );
        check(
            "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n",
            source("[2001:db8::1]:1"),
        );
        check("PROXY UNKNOWN\r\n", None);
        check("PROXY UNKNOWN ffff:f 1 2 3\r\n", None);
    }

    #[test]
    fn version_2() {
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0xdc, 4, 1, 0xbb];
        let check = |bytes: Vec<u8>, expected: Option<SocketAddr>, is_tls: bool| {
            let found = Header {
                length: bytes.len(),
                source: expected,
                is_tls,
            };
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes[..cut]), Ok(None), "{cut} of {bytes:?}");
            }
            assert_eq!(read(&[&bytes[..], b"\x16\x03"].concat()), Ok(Some(found)));
        };
        check(
            v2_header(0x21, 0x11, &v4),
            source("203.0.113.7:56324"),
            false,
        );
        let ssl = |client: u8| [&v4[..], &[0x20, 0, 5, client, 0, 0, 0, 0]].concat();
        check(
            v2_header(0x21, 0x11, &ssl(1)),
            source("203.0.113.7:56324"),
            true,
        );
        check(
            v2_header(0x21, 0x11, &ssl(6)),
            source("203.0.113.7:56324"),
            false,
        );
        let mut v6 = [0; 36];
        v6[15] = 1;
        v6[33] = 9;
        check(v2_header(0x21, 0x21, &v6), source("[::1]:9"), false);
        // the proxy's own health check
        check(v2_header(0x20, 0x00, b""), None, false);
        check(v2_header(0x20, 0x11, &ssl(1)), None, false);
        check(v2_header(0x21, 0x31, &[b'a'; 216]), None, false);
    }

    #[test]
    fn what_is_no_header_is_named() {
        let check = |bytes: &[u8], expected: HeaderError| {
            assert_eq!(read(bytes), Err(expected), "{bytes:?}");
        };
        check(b"GET / HTTP/1.1\r\n", HeaderError::Missing);
        check(b"\x16\x03\x01", HeaderError::Missing);
        check(b"PUT", HeaderError::Missing);
        check(b"\r\n\r\nGET", HeaderError::Missing);
        check(b"PROXY nonsense\r\n", HeaderError::Invalid);
        check(b"PROXY TCP4 nonsense\r\n", HeaderError::Invalid);
        check(b"PROXY \r\n", HeaderError::Invalid);
        check(b"PROXY UNKNOWN \r\rGET\r\n", HeaderError::Invalid);
        check(b"PROXY TCP4 1.2.3 10.0.0.1 1 2\r\n", HeaderError::Invalid);
        check(
            b"PROXY TCP4 1.2.3.4 10.0.0.1 65536 2\r\n",
            HeaderError::Invalid,
        );
        check(
            format!("PROXY UNKNOWN {}", "x".repeat(200)).as_bytes(),
            HeaderError::TooLong,
        );
        check(&v2_header(0x31, 0x11, &[0; 12]), HeaderError::Invalid);
        check(&v2_header(0x21, 0x11, &[0; 4]), HeaderError::Invalid);
        check(
            &v2_header(0x21, 0x11, &[0; 5000])[..16],
            HeaderError::TooLong,
        );
        check(&v2_header(0x21, 0x11, &[0; 5000]), HeaderError::TooLong);
    }

    #[test]
    fn random_bytes_never_panic() {
        use rand::{RngExt, SeedableRng, rngs::SmallRng};
        let mut random = SmallRng::seed_from_u64(11);
        for _ in 0..50_000 {
            let mut bytes: Vec<u8> = match random.random_range(0..3) {
                0 => b"PROXY ".to_vec(),
                1 => [v2::PROTOCOL_PREFIX, &[0x21, 0x11, 0, 40]].concat(),
                _ => Vec::new(),
            };
            let length = random.random_range(0..80);
            bytes.extend((0..length).map(|_| random.random::<u8>()));
            let _ = read(&bytes);
        }
    }
}

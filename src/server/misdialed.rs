//! Clients that don't speak what the listener expects: told apart by their first bytes, named in the log, counted, and
//! answered in whatever they understand.

use std::{fmt, io};

use actix_http::header::HeaderMap;

use crate::{gate::log_refusal, node::Node, peer::Peer};

/// What was wrong, as metrics and the live stream call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misdialed {
    TlsOnPlain,
    PlainOnTls,
    /// failed, or ended by the client later
    Tls,
    /// a PROXY protocol header that is missing, wrong, or sent by somebody who isn't trusted
    ProxyHeader,
    /// neither TLS nor a PROXY protocol header came in time
    NotReady,
    MalformedHead,
    HeadTooLarge,
    HeadTooSlow,
    /// took none of what it was answered
    AnswersUntaken,
    /// no file is left for it
    NoRoom,
}

impl Misdialed {
    fn name(self) -> &'static str {
        match self {
            Misdialed::TlsOnPlain => "tls_on_plain",
            Misdialed::PlainOnTls => "plain_on_tls",
            Misdialed::Tls => "tls",
            Misdialed::ProxyHeader => "proxy_header",
            Misdialed::NotReady => "not_ready",
            Misdialed::MalformedHead => "malformed_head",
            Misdialed::HeadTooLarge => "head_too_large",
            Misdialed::HeadTooSlow => "head_too_slow",
            Misdialed::AnswersUntaken => "answers_untaken",
            Misdialed::NoRoom => "no_room",
        }
    }
}

/// Counts, tells and logs it: a line in a second at info for what one address does wrong, like all refusals.
pub(super) fn report(node: &Node, peer: &Peer, what: Misdialed, message: &str) {
    let settings = node.settings();
    let client = peer.client(&HeaderMap::new(), &settings.server.trusted_proxies);
    let at_info = node.gate().may_log(client, &settings.limits);
    log_refusal!(at_info, peer = %Shown(peer), "{message}");
    node.observe()
        .refused_transport(client, what.name(), message);
}

/// As [`report`], without a line in the log.
pub(super) fn note(node: &Node, peer: &Peer, what: Misdialed, message: &str) {
    let settings = node.settings();
    let client = peer.client(&HeaderMap::new(), &settings.server.trusted_proxies);
    node.observe()
        .refused_transport(client, what.name(), message);
}

/// What a connection's first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// the record header of a TLS handshake
    Tls,
    /// a PROXY protocol header, version 1 or 2
    ProxyHeader,
    /// perhaps HTTP
    Other,
}

impl Opening {
    /// `bytes`: at least one.
    pub fn of(bytes: &[u8]) -> Opening {
        const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
        match bytes {
            [0x16, ..] => Opening::Tls,
            _ if bytes.starts_with(b"PROXY ") || bytes.starts_with(V2) => Opening::ProxyHeader,
            _ => Opening::Other,
        }
    }
}

/// What a client is told before its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastWords {
    status: &'static str,
    sentence: &'static str,
}

impl LastWords {
    pub fn to_bytes(self) -> Vec<u8> {
        let LastWords { status, sentence } = self;
        format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n\r\n{sentence}\n",
            sentence.len() + 1
        )
        .into_bytes()
    }
}

const fn http(status: &'static str, sentence: &'static str) -> LastWords {
    LastWords { status, sentence }
}

/// TLS libraries take the answer for what it is: "wrong version number" in OpenSSL's words.
const TLS_ON_PLAIN: LastWords = http(
    "400 Bad Request",
    "This port speaks no TLS: use http:// and ws:// here, or set tls.certificate",
);
pub(super) const PLAIN_ON_TLS: LastWords = http(
    "400 Bad Request",
    "This port speaks TLS: use https:// and wss:// here (REVERB_SCHEME=https in Laravel's .env)",
);
pub(super) const PROXY_HEADER_MISSING: LastWords = http(
    "400 Bad Request",
    "A PROXY protocol header is required here (server.proxy_protocol)",
);
const PROXY_HEADER_REFUSED: LastWords = http(
    "400 Bad Request",
    "A PROXY protocol header is refused here (server.proxy_protocol, server.trusted_proxies)",
);
pub(super) const HEAD_TOO_SLOW: LastWords = http(
    "408 Request Timeout",
    "The head of the request did not arrive in time (server.handshake_timeout_s)",
);
const MALFORMED: LastWords = http(
    "400 Bad Request",
    "The head of this request is not valid HTTP/1.1",
);
const HEAD_TOO_LARGE: LastWords = http(
    "431 Request Header Fields Too Large",
    "The head of this request is larger than 128 KiB",
);

/// Looks at the first bytes on a port without TLS. Returns what to say before the connection is closed, if it must be.
pub(super) fn on_plain(opening: Opening, node: &Node, peer: &Peer) -> Option<LastWords> {
    match opening {
        Opening::Other => None,
        Opening::Tls => {
            report(
                node,
                peer,
                Misdialed::TlsOnPlain,
                "a client speaks TLS to the plain port: it must use ws:// and http:// there (forceTLS: false, REVERB_SCHEME=http), or set tls.certificate",
            );
            Some(TLS_ON_PLAIN)
        }
        Opening::ProxyHeader => {
            refused_proxy_header(
                node,
                peer,
                "it comes from an address outside server.trusted_proxies, or server.proxy_protocol is off",
            );
            Some(PROXY_HEADER_REFUSED)
        }
    }
}

pub(super) fn refused_proxy_header(node: &Node, peer: &Peer, why: &str) {
    let message = format!("refused a connection because of its PROXY protocol header: {why}");
    report(node, peer, Misdialed::ProxyHeader, &message);
}

/// A client that doesn't trust the certificate says so in an alert, with TLS 1.3 after the handshake.
pub(super) fn broken_tls(node: &Node, peer: &Peer, error: &io::Error) {
    if error.kind() == io::ErrorKind::InvalidData {
        let message = format!("a client ended the TLS connection: {error}");
        report(node, peer, Misdialed::Tls, &message);
    }
}

/// What was answered waited for too long.
pub(super) fn answers_untaken(node: &Node, peer: &Peer) {
    let seconds = node.settings().socket.write_timeout.as_secs();
    let message = format!(
        "cut a client that took none of its answers for {seconds} s (socket.write_timeout_s)"
    );
    report(node, peer, Misdialed::AnswersUntaken, &message);
}

/// The head of a request got these words for an answer.
pub(super) fn refused_head(node: &Node, peer: &Peer, words: LastWords) {
    let what = match words {
        HEAD_TOO_LARGE => Misdialed::HeadTooLarge,
        HEAD_TOO_SLOW => Misdialed::HeadTooSlow,
        _ => Misdialed::MalformedHead,
    };
    let message = format!("refused a connection: {}", words.sentence);
    report(node, peer, what, &message);
}

/// actix answers a request that it can't understand itself, without a word and with no way to add one: what to send
/// instead, if `answer` is such a refusal. Answers of the API are never empty.
pub(super) fn answer_instead(answer: &[u8]) -> Option<LastWords> {
    let rest = answer.strip_prefix(b"HTTP/1.1 4")?;
    let (text, status): (LastWords, &[u8]) = match rest.get(..2)? {
        b"00" => (MALFORMED, b"00 Bad Request"),
        b"08" => (HEAD_TOO_SLOW, b"08 Request Timeout"),
        b"31" => (HEAD_TOO_LARGE, b"31 Request Header Fields Too Large"),
        _ => return None,
    };
    let rest = rest.strip_prefix(status)?;
    let is_empty = rest.starts_with(b"\r\ncontent-length: 0\r\n") && rest.ends_with(b"\r\n\r\n");
    is_empty.then_some(text)
}

/// A peer as logs show it.
struct Shown<'a>(&'a Peer);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.address {
            Some(address) => address.fmt(f),
            None => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_what_is_spoken() {
        let check = |bytes: &[u8], expected: Opening| {
            assert_eq!(Opening::of(bytes), expected, "{bytes:?}");
        };
        check(b"\x16", Opening::Tls);
        check(b"\x16\x03\x01\x02\x00", Opening::Tls);
        check(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", Opening::ProxyHeader);
        check(b"\r\n\r\n\0\r\nQUIT\n\x21", Opening::ProxyHeader);
        check(b"GET / HTTP/1.1\r\n", Opening::Other);
        check(b"PROXYING", Opening::Other);
        check(b"POST /", Opening::Other);
        check(b"\r\n\r\nGET /", Opening::Other);
        check(b"\0", Opening::Other);
    }

    #[test]
    fn only_empty_refusals_are_replaced() {
        let check = |answer: &str, expected: Option<LastWords>| {
            assert_eq!(answer_instead(answer.as_bytes()), expected, "{answer}");
        };
        let empty = "\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        check(&format!("HTTP/1.1 400 Bad Request{empty}"), Some(MALFORMED));
        check(
            &format!("HTTP/1.1 408 Request Timeout{empty}"),
            Some(HEAD_TOO_SLOW),
        );
        check(
            &format!("HTTP/1.1 431 Request Header Fields Too Large{empty}"),
            Some(HEAD_TOO_LARGE),
        );
        check(&format!("HTTP/1.1 404 Not Found{empty}"), None);
        check(
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nhi",
            None,
        );
        check("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", None);
        check("HTTP/1.1 4", None);
        check("", None);
    }
}

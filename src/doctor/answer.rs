//! Who answers at an address: Resound, another server, or something in front of it.
use super::{Context, Finding, place::Place};
use crate::client::{encoded, http::Answer, one_line};
use crate::protocol::codes::shown;
use std::fmt;

pub(super) const CHECK: &str = "server";

/// Of an answer that nobody knows.
const EXCERPT_CHARS_MAX: usize = 80;

/// Who gave an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Resound,
    Reverb,
    Soketi,
    Cloudflare,
    /// a proxy that reaches nothing behind it
    Gateway(u16),
    Redirect(u16, String),
    /// an HTML page, with its title if it has one
    Page(u16, Option<String>),
    Unknown(u16, String),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Resound => f.write_str("Resound"),
            Who::Reverb => f.write_str("Laravel Reverb"),
            Who::Soketi => f.write_str("soketi"),
            Who::Cloudflare => f.write_str("a page of Cloudflare's"),
            Who::Gateway(status) => write!(f, "a proxy with status {status}"),
            Who::Redirect(status, to) => write!(f, "a redirect ({status}) to {to}"),
            Who::Page(status, None) => write!(f, "an HTML page with status {status}"),
            Who::Page(status, Some(title)) => {
                write!(f, "an HTML page ({title:?}) with status {status}")
            }
            Who::Unknown(status, excerpt) => write!(f, "status {status} and {excerpt:?}"),
        }
    }
}

/// Looks at an answer to a request below `/apps` or `/app` that Resound would refuse.
pub(super) fn who(answer: &Answer) -> Who {
    if !answer.header("x-resound").is_empty() {
        return Who::Resound;
    }
    let status = answer.status;
    let body = answer.body.trim();
    let is_page = answer.header("content-type").starts_with("text/html") || body.starts_with('<');
    let is_cloudflare =
        !answer.header("cf-ray").is_empty() || answer.header("server") == "cloudflare";
    match status {
        301 | 302 | 303 | 307 | 308 => {
            return Who::Redirect(status, one_line(&shown(answer.header("location"), 200)));
        }
        _ if is_cloudflare && (is_page || status >= 500) => return Who::Cloudflare,
        502..=504 => return Who::Gateway(status),
        _ => {}
    }
    let is_reverb = answer.header("x-powered-by").contains("Reverb")
        || ["Method not allowed.", "Authentication signature invalid."].contains(&body)
        || (body.starts_with("No matching application for ID [") && body.ends_with("]."));
    if is_reverb {
        Who::Reverb
    } else if !answer.header("uwebsockets").is_empty() {
        Who::Soketi
    } else if is_page {
        Who::Page(status, title(body))
    } else {
        Who::Unknown(status, one_line(&shown(body, EXCERPT_CHARS_MAX)))
    }
}

fn title(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("<title>")?;
    let (title, _) = rest.split_once("</title>")?;
    Some(one_line(&shown(title.trim(), EXCERPT_CHARS_MAX)))
}

/// Asks for what Resound refuses in its own words: an event that isn't posted.
pub(super) async fn check(context: &Context<'_>, place: &Place) -> Finding {
    let address = &place.address;
    let url = address.http_url(&format!("/apps/{}/events", encoded(&context.app.id)));
    let answer = match context.asking(&place.address).http.get(&url).await {
        Ok(answer) => answer,
        Err(error) => {
            return Finding::wrong(
                CHECK,
                format!("no answer from {address}: {error}"),
                format!("look what answers at {}", address.authority()),
            );
        }
    };
    match who(&answer) {
        Who::Resound => Finding::ok(CHECK, format!("Resound answers at {address}")),
        who => {
            if matches!(&who, Who::Unknown(400, text) if text.contains("(server.proxy_protocol)")) {
                return Finding::wrong(
                    CHECK,
                    format!("{address} hears only proxies: server.proxy_protocol is on"),
                    format!(
                        "set server.plain_port for PHP on the same machine, or let {} lead to the proxy",
                        place.settings()
                    ),
                );
            }
            let forwards_sockets = answers_sockets(context, place).await;
            stranger(CHECK, place, &who, forwards_sockets)
        }
    }
}

/// Whether Resound answers below `/app`.
async fn answers_sockets(context: &Context<'_>, place: &Place) -> bool {
    let key = encoded(&context.app.key);
    let url = place.address.http_url(&format!("/app/{key}"));
    let answer = context.asking(&place.address).http.get(&url).await;
    answer.is_ok_and(|answer| who(&answer) == Who::Resound)
}

/// Somebody else than Resound answered where an event would be posted.
pub(super) fn stranger(
    check: impl Into<String>,
    place: &Place,
    who: &Who,
    forwards_sockets: bool,
) -> Finding {
    let address = &place.address;
    if forwards_sockets {
        return Finding::wrong(
            check,
            format!(
                "the proxy at {address} forwards /app to Resound, but not /apps, which is answered by {who}: browsers connect, but every event is lost"
            ),
            "let the proxy forward everything below /apps as well (nginx: a `location /apps` like that of /app)",
        );
    }
    let places = place.settings();
    let (text, cure) = match who {
        Who::Reverb | Who::Soketi => (
            format!("{who} answers at {address}, not Resound"),
            format!("stop it and start Resound on its port, or let {places} or the proxy lead to Resound"),
        ),
        Who::Cloudflare => (
            format!("Cloudflare answers at {address} with a page of its own"),
            format!("let PHP post to the server directly: set {places} to its own address, for example 127.0.0.1 on the same machine"),
        ),
        Who::Gateway(status) => (
            format!("the proxy at {address} answers {status}: it doesn't reach Resound"),
            "start Resound, and let the proxy's upstream be where it listens (`resound config` shows server.host and server.port)".to_owned(),
        ),
        Who::Redirect(status, to) => (
            format!("{address} redirects ({status}) to {to}, which turns every POST of an event into a GET"),
            format!("set {places} and the scheme to where it leads"),
        ),
        Who::Resound | Who::Page(..) | Who::Unknown(..) => (
            format!("{address} isn't Resound: it answers with {who}"),
            format!("let the proxy forward /app and /apps to Resound, or correct {places}"),
        ),
    };
    Finding::wrong(check, text, cure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    #[test]
    fn who_answers() {
        let check =
            |status: u16, headers: &[(&'static str, &'static str)], body: &str, expected: Who| {
                let mut map = HeaderMap::new();
                for (name, value) in headers {
                    let value = HeaderValue::from_static(value);
                    map.insert(HeaderName::from_static(name), value);
                }
                let answer = Answer {
                    status,
                    headers: map,
                    body: body.to_owned(),
                };
                assert_eq!(who(&answer), expected, "{answer:?}");
            };
        let page = "<html><head><title> Not Found </title></head></html>";
        check(405, &[("x-resound", "1")], "Method…", Who::Resound);
        check(
            405,
            &[("allow", "POST")],
            "Method not allowed.",
            Who::Reverb,
        );
        check(404, &[], "No matching application for ID [7].", Who::Reverb);
        check(404, &[("uwebsockets", "20")], "", Who::Soketi);
        check(403, &[("server", "cloudflare")], page, Who::Cloudflare);
        check(522, &[("cf-ray", "1")], "", Who::Cloudflare);
        check(
            502,
            &[("content-type", "text/html")],
            page,
            Who::Gateway(502),
        );
        check(503, &[], "", Who::Gateway(503));
        check(
            301,
            &[("location", "https://a/")],
            "",
            Who::Redirect(301, "https://a/".into()),
        );
        check(404, &[], page, Who::Page(404, Some("Not Found".into())));
        check(
            404,
            &[("content-type", "text/html; charset=UTF-8")],
            "x",
            Who::Page(404, None),
        );
        check(200, &[], "{}", Who::Unknown(200, "{}".into()));
        check(404, &[], "a\u{1b}b", Who::Unknown(404, "a\\u{1b}b".into()));
    }
}

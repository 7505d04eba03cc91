//! `resound tail --admin`: listens to a server's live stream and prints it, as text for people or as the JSON it is.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use clap::Args;
use futures_util::StreamExt;
use reqwest::Url;
use serde_json::{Map, Value};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        http::{HeaderValue, header::AUTHORIZATION},
    },
};

use super::TailArguments;
use crate::{
    client::Address,
    config::{AdminSettings, Settings},
};

/// What `--admin` adds to `resound tail`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct AdminTail {
    /// Print all that happens on the server, from the live stream of its admin listener
    #[arg(long, conflicts_with_all = ["channels", "user_id", "count", "timeout"])]
    pub admin: bool,
    /// With --admin: only of this channel; a name that ends with * stands for all that begin so
    #[arg(long, value_name = "NAME", requires = "admin")]
    pub channel: Option<String>,
    /// With --admin: only of the connection with this socket id
    #[arg(long, value_name = "ID", requires = "admin")]
    pub socket: Option<String>,
    /// With --admin: only connected, disconnected, subscribed, unsubscribed, refused, published, client_event or evicted
    #[arg(long, value_name = "KIND,…", requires = "admin")]
    pub kind: Option<String>,
    /// With --admin: only a share of what happens, such as 0.1
    #[arg(long, value_name = "SHARE", requires = "admin")]
    pub sample: Option<String>,
    /// With --admin: show the first 1000 bytes of events' data
    #[arg(long, requires = "admin")]
    pub data: bool,
    /// With --admin: what opens the stream [default: admin.token]
    #[arg(long, value_name = "TOKEN", requires = "admin")]
    pub token: Option<String>,
}

/// Why nothing can be shown any more.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error(
        "there is no admin listener: admin.enabled is false in these settings; say with --url where to ask"
    )]
    Disabled,
    #[error("--url must be the URL of an admin listener, such as ws://127.0.0.1:9601")]
    Url,
    #[error(
        "the admin listener speaks no TLS: ask it itself, such as ws://127.0.0.1:9601, through SSH if it is elsewhere"
    )]
    Tls,
    #[error("--token must be visible ASCII characters without blanks")]
    Token,
    #[error(
        "nothing listens at {0}: is the server running, with its admin listener there? Say with --url where it is"
    )]
    Nobody(String),
    #[error("{url} refused: {sentence}")]
    Refused { url: String, sentence: String },
    #[error("no live stream from {url}: {reason}")]
    Failed { url: String, reason: String },
    #[error("the server at {0} has ended the live stream")]
    Ended(String),
    #[error("can't write to standard output: {0}")]
    Output(io::Error),
}

/// Prints what happens until the server ends, or the reader of `output` does.
pub fn run(
    settings: &Settings,
    wanted: &TailArguments,
    output: &mut impl Write,
) -> Result<(), TailError> {
    let url = url(&settings.admin, wanted)?;
    let token = wanted.live.token.as_deref();
    let token = token.or(settings.admin.token.as_ref().map(|token| token.reveal()));
    actix_rt::System::new().block_on(listen(&url, token, wanted.json, output))
}

/// Where to listen. It holds no token, so it may be shown.
fn url(settings: &AdminSettings, wanted: &TailArguments) -> Result<Url, TailError> {
    let authority = match &wanted.url {
        Some(address) if address.is_tls => return Err(TailError::Tls),
        Some(address) => address.authority(),
        None if !settings.enabled => return Err(TailError::Disabled),
        None => Address::of_listener(settings.host, settings.port, false).authority(),
    };
    let prefix = wanted.url.as_ref().map_or("", |address| &address.prefix);
    let path = if prefix.is_empty() { "/stream" } else { prefix };
    let url = Url::parse(&format!("ws://{authority}{path}"));
    let mut url = url.map_err(|_| TailError::Url)?;
    let live = &wanted.live;
    let filters = [
        ("app", &wanted.app),
        ("channel", &live.channel),
        ("socket", &live.socket),
        ("kind", &live.kind),
        ("sample", &live.sample),
    ];
    for (key, value) in filters {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(key, value);
        }
    }
    if live.data {
        url.query_pairs_mut().append_pair("data", "1");
    }
    Ok(url)
}

async fn listen(
    url: &Url,
    token: Option<&str>,
    is_json: bool,
    output: &mut impl Write,
) -> Result<(), TailError> {
    let shown = url.origin().ascii_serialization();
    let mut request = url
        .as_str()
        .into_client_request()
        .map_err(|_| TailError::Url)?;
    if let Some(token) = token {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let value = value.map_err(|_| TailError::Token)?;
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let (mut stream, _) = connect_async(request)
        .await
        .map_err(|error| refused(&shown, error))?;
    while let Some(message) = stream.next().await {
        let line = match message {
            Ok(Message::Text(line)) => line,
            Ok(Message::Close(_)) | Err(_) => break,
            Ok(_) => continue,
        };
        let line = if is_json {
            line.to_string()
        } else {
            for_people(&line)
        };
        match writeln!(output, "{line}").and_then(|()| output.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(TailError::Output(error)),
        }
    }
    Err(TailError::Ended(shown))
}

fn refused(url: &str, error: tungstenite::Error) -> TailError {
    let url = url.to_owned();
    match error {
        tungstenite::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            TailError::Nobody(url)
        }
        tungstenite::Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            let sentence = String::from_utf8_lossy(body);
            let sentence = sentence.lines().next().unwrap_or_default();
            TailError::Refused {
                url,
                sentence: match sentence {
                    "" => format!("status {}", response.status().as_u16()),
                    sentence => one_line(&sentence.chars().take(500).collect::<String>()),
                },
            }
        }
        other => TailError::Failed {
            url,
            reason: other.to_string(),
        },
    }
}

/// The members of an event in the order in which they are read best, with what stands before each.
const MEMBERS: [(&str, &str); 16] = [
    ("what", ""),
    ("app", "app "),
    ("socket_id", "socket "),
    ("channel", "channel "),
    ("event", "event "),
    ("bytes", "bytes "),
    ("count", "events lost here "),
    ("user_id", "user "),
    ("peer", "from "),
    ("origin", "origin "),
    ("path", "path "),
    ("duration_ms", "after ms "),
    ("reason", "reason "),
    ("code", "code "),
    ("request_id", "request "),
    ("message", ""),
];

/// `07:12:03.250 subscribed    app 3, socket 1.2, channel room`; UTC. What isn't an event is shown as it came.
fn for_people(line: &str) -> String {
    let Ok(event) = serde_json::from_str::<Map<String, Value>>(line) else {
        return one_line(line);
    };
    let text = |key: &str| match event.get(key)? {
        Value::String(text) => Some(one_line(text)),
        other => Some(other.to_string()),
    };
    let parts: Vec<String> = MEMBERS
        .iter()
        .filter_map(|(key, before)| Some(format!("{before}{}", text(key)?)))
        .collect();
    let time_ms = event.get("time_ms").and_then(Value::as_u64);
    let time = time_ms.map_or_else(|| " ".repeat(12), time_of_day);
    let kind = text("kind").unwrap_or_default();
    let mut line = format!("{time} {kind:<13} {}", parts.join(", "));
    if let Some(data) = text("data") {
        // writing to a String can't fail
        let _ = write!(line, "\n             {data}");
    }
    line
}

fn time_of_day(time_ms: u64) -> String {
    let (s, ms) = (time_ms / 1000 % 86_400, time_ms % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}", s / 3600, s / 60 % 60, s % 60)
}

/// What comes from clients must not reach a terminal as commands.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url_of(toml: &str, line: &str) -> Result<String, String> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            tail: TailArguments,
        }
        let words = format!("tail --admin {line}");
        let line: Line = clap::Parser::try_parse_from(words.split_whitespace())
            .map_err(|error: clap::Error| error.to_string())?;
        let settings = crate::config::from_toml(toml).expect("settings");
        url(&settings.admin, &line.tail)
            .map(|url| url.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn where_it_listens() {
        let own = |toml: &str| url_of(toml, "");
        let own_url = "ws://127.0.0.1:9601/stream";
        assert_eq!(own("").as_deref(), Ok(own_url));
        assert_eq!(own("[admin]\nhost = \"0.0.0.0\"").as_deref(), Ok(own_url));
        let v6 = "[admin]\nhost = \"::\"\nport = 5";
        assert_eq!(own(v6).as_deref(), Ok("ws://[::1]:5/stream"));
        let disabled = own("[admin]\nenabled = false").expect_err("nowhere");
        assert!(disabled.contains("admin.enabled"), "{disabled}");
        for url in ["ws://h:1", "http://h:1/", "ws://h:1/stream"] {
            let found = url_of("", &format!("--url {url}"));
            assert_eq!(found.as_deref(), Ok("ws://h:1/stream"), "{url}");
        }
        let tls = url_of("", "--url wss://h").expect_err("no TLS");
        assert!(tls.contains("no TLS"), "{tls}");
        for url in ["h:1", "ftp://h", "ws://"] {
            assert!(url_of("", &format!("--url {url}")).is_err(), "{url}");
        }
    }

    #[test]
    fn filters_go_into_the_query() {
        let line = "--app 3 --channel private-* --kind refused,evicted --data";
        let url = url_of("", line).expect("a URL");
        let query = "app=3&channel=private-*&kind=refused%2Cevicted&data=1";
        assert!(url.ends_with(query), "{url}");
        assert!(url_of("", "room").is_err(), "channels have an option here");
    }

    #[test]
    fn a_line_for_people() {
        let check = |json: &str, expected: &str| assert_eq!(for_people(json), expected);
        check(
            r#"{"time_ms":86399042,"kind":"subscribed","app":"3","socket_id":"1.2","channel":"room"}"#,
            "23:59:59.042 subscribed    app 3, socket 1.2, channel room",
        );
        check(
            r#"{"time_ms":0,"kind":"refused","what":"connection","reason":"origin_not_allowed","message":"Origin not allowed","code":4009}"#,
            "00:00:00.000 refused       connection, reason origin_not_allowed, code 4009, Origin not allowed",
        );
        check(
            r#"{"kind":"dropped","count":7}"#,
            "             dropped       events lost here 7",
        );
        check(
            r#"{"time_ms":0,"kind":"published","event":"\u001b[2J","data":"a\nb"}"#,
            "00:00:00.000 published     event \\u{1b}[2J\n             a\\nb",
        );
        check("no\u{7} JSON", "no\\u{7} JSON");
    }
}

//! `resound tail`: subscribes to channels and prints what happens on them, a line for each event. Reconnects as clients do.
//! With `--admin` it listens to the server's live stream instead, which is `admin`'s matter.
mod admin;

use crate::{
    apps::App,
    client::{
        self, Address, ConnectError,
        http::config_for,
        one_line,
        socket::{Closed, Event, Member, Next, OpenError, Socket, Then},
    },
    config::Settings,
    protocol::{
        channel::{ChannelKind, ChannelName},
        request::utc,
    },
};
use admin::AdminTail;
use clap::Args;
use rustls::ClientConfig;
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    error::Error,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};

/// For each step of opening a connection, and for a channel's answer to a subscription.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two connections (C-31); doubled while none comes about.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct TailArguments {
    /// Channels of any kind; what is encrypted is printed as it comes
    #[arg(value_name = "CHANNEL", required_unless_present = "admin")]
    pub channels: Vec<String>,
    /// App whose channels they are [default: the Laravel app's, else the first]
    #[arg(long, value_name = "ID")]
    pub app: Option<String>,
    /// Server to ask, such as https://ws.example.com [default: what the settings say]
    #[arg(long, value_parser = Address::parse)]
    pub url: Option<Address>,
    /// Page to come from, for apps with a list of origins [default: one that the settings allow]
    #[arg(long, value_name = "ORIGIN")]
    pub origin: Option<String>,
    /// Print JSON, an object on each line
    #[arg(long)]
    pub json: bool,
    /// Whom the members of a presence channel see joining
    #[arg(long, value_name = "ID")]
    pub user_id: Option<String>,
    /// What they see of that user, as JSON
    #[arg(long, value_name = "JSON", requires = "user_id")]
    pub user_info: Option<String>,
    /// End after so many events; those of the protocol itself (pusher…) don't count
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after so many seconds: with --count as a failure
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    #[command(flatten)]
    pub live: AdminTail,
}

/// Prints to `out` until enough was seen, time is over, the reader is gone or the user interrupts.
pub fn run(
    settings: &Settings,
    arguments: &TailArguments,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    if arguments.live.admin {
        return Ok(admin::run(settings, arguments, out)?);
    }
    let app = client::find_app(settings, arguments.app.as_deref())?;
    let address = match &arguments.url {
        Some(url) => url.clone(),
        None => Address::of_server(settings)?,
    };
    let member = member(arguments)?;
    check_channels(&arguments.channels, member.as_ref())?;
    let origin = arguments.origin.clone();
    let tail = Tail {
        app,
        origin: origin.unwrap_or_else(|| allowed_origin(app, &address)),
        address,
        channels: &arguments.channels,
        member,
        printer: Printer {
            out,
            is_json: arguments.json,
            left: arguments.count,
        },
    };
    client::block_on(tail.until_over(arguments.timeout))?
}

/// A page that may connect: native clients send none, but servers with a list of origins refuse them.
fn allowed_origin(app: &App, address: &Address) -> String {
    let own = format!("{}://{}", address.scheme(), address.authority());
    match app.allowed_origins.first() {
        Some(pattern) if !app.allows_origin(Some(&own)) => {
            format!("https://{}", pattern.replace('*', "any"))
        }
        _ => own,
    }
}

fn member(arguments: &TailArguments) -> Result<Option<Member>, String> {
    let user_info = match &arguments.user_info {
        None => None,
        Some(text) => match serde_json::from_str::<Value>(text) {
            Ok(info) => Some(info),
            Err(error) => return Err(format!("--user-info is not JSON ({error})")),
        },
    };
    Ok(arguments
        .user_id
        .clone()
        .map(|user_id| Member { user_id, user_info }))
}

fn check_channels(channels: &[String], member: Option<&Member>) -> Result<(), String> {
    for channel in channels {
        if ChannelName::parse(channel, usize::MAX).is_err() {
            return Err(format!("{} is no name of a channel", one_line(channel)));
        }
        let kind = ChannelKind::of(channel);
        if kind == ChannelKind::ServerToUser {
            return Err(format!(
                "{channel} belongs to a signed-in user, nobody can subscribe to it"
            ));
        }
        if kind.is_presence() && member.is_none() {
            return Err(format!(
                "{channel} is a presence channel, whose members see who joins: say as whom with --user-id"
            ));
        }
    }
    Ok(())
}

/// What is listened to, and where it goes.
struct Tail<'a, W> {
    app: &'a App,
    address: Address,
    origin: String,
    channels: &'a [String],
    member: Option<Member>,
    printer: Printer<'a, W>,
}

/// Why one connection is over.
enum Over {
    /// all that was wanted is printed
    Done,
    Closed(Closed),
    Failed(String),
}

impl<W: Write> Tail<'_, W> {
    async fn until_over(mut self, timeout_s: Option<u64>) -> Result<(), Box<dyn Error>> {
        let counted = self.printer.left;
        let time_over = async {
            match timeout_s {
                Some(seconds) => sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            ended = self.listen() => Some(ended),
            () = time_over => None,
            signal = tokio::signal::ctrl_c() => return Ok(signal?),
        };
        match (ended, counted) {
            (Some(ended), _) => ended.map_err(Box::from),
            (None, None) => Ok(()),
            (None, Some(count)) => {
                let seen = count - self.printer.left.unwrap_or(0);
                Err(format!("time is over after {seen} of {count} events").into())
            }
        }
    }

    /// One connection after the other, by the rules of close codes (C-31). The first must come about.
    async fn listen(&mut self) -> Result<(), String> {
        let mut tls = Arc::new(config_for(&self.address));
        let mut was_connected = false;
        let mut delay = RECONNECT_DELAY;
        loop {
            let began = Instant::now();
            let closed = match self.connection(&tls, &mut was_connected).await {
                Ok(Over::Done) => return Ok(()),
                Ok(Over::Failed(reason)) => return Err(reason),
                Ok(Over::Closed(closed)) => {
                    delay = RECONNECT_DELAY;
                    closed
                }
                Err(OpenError::Refused { at, closed }) if closed.then() == Then::Stop => {
                    return Err(OpenError::Refused { at, closed }.to_string());
                }
                Err(OpenError::Refused { closed, .. }) => closed,
                Err(error) if !was_connected => return Err(explained(&error)),
                Err(error) => Closed {
                    code: None,
                    reason: error.to_string(),
                },
            };
            let code = closed
                .code
                .map_or(String::new(), |code| format!(" with {code}"));
            let reason = &closed.reason;
            match closed.then() {
                Then::Stop => {
                    return Err(format!("the server closed the connection{code}: {reason}"));
                }
                Then::UseTls if self.address.is_tls => {
                    return Err(format!(
                        "the server wants TLS, which is spoken already: {reason}"
                    ));
                }
                Then::UseTls => {
                    note(&format!("closed{code}: {reason}; trying again with TLS"));
                    self.address.is_tls = true;
                    tls = Arc::new(config_for(&self.address));
                }
                then => {
                    note(&format!("closed{code}: {reason}; reconnecting"));
                    // At once, but not in circles.
                    if then == Then::ReconnectLater || began.elapsed() < delay {
                        sleep(delay).await;
                        delay = (delay * 2).min(RECONNECT_DELAY_MAX);
                    }
                }
            }
        }
    }

    async fn connection(
        &mut self,
        tls: &Arc<ClientConfig>,
        was_connected: &mut bool,
    ) -> Result<Over, OpenError> {
        let origin = Some(self.origin.as_str());
        let mut socket = Socket::open(&self.address, &self.app.key, tls, origin, PATIENCE).await?;
        *was_connected = true;
        note(&format!(
            "connected to {} as {}",
            self.address, socket.socket_id
        ));
        for channel in self.channels {
            let member = self.member.as_ref();
            // Should it be lost by now, the next read says how.
            socket.subscribe(self.app, channel, member).await;
        }
        let over = self.events(&mut socket).await;
        if !matches!(over, Over::Closed(_)) {
            socket.close().await;
        }
        Ok(over)
    }

    async fn events(&mut self, socket: &mut Socket) -> Over {
        let mut asked: HashSet<&str> = self.channels.iter().map(String::as_str).collect();
        let answered_by = Instant::now() + PATIENCE;
        loop {
            let next = tokio::select! {
                next = socket.next() => next,
                () = sleep_until(answered_by), if !asked.is_empty() => {
                    return Over::Failed("the server doesn't answer a subscription".to_owned());
                }
            };
            let event = match next {
                Next::Closed(closed) => return Over::Closed(closed),
                Next::Event(event) => event,
            };
            let channel = event.channel.as_deref().unwrap_or_default();
            match event.event.as_str() {
                "pusher_internal:subscription_succeeded" => {
                    asked.remove(channel);
                    note(&format!("subscribed to {channel}"));
                    continue;
                }
                "pusher:subscription_error" => {
                    let data = event.data_json();
                    let reason = data["error"].as_str().unwrap_or("no reason").to_owned();
                    return Over::Failed(format!("{channel} is refused: {}", one_line(&reason)));
                }
                "pusher:error" => {
                    let data = event.data_json();
                    let reason = one_line(data["message"].as_str().unwrap_or("no reason"));
                    if !asked.is_empty() {
                        return Over::Failed(format!("the server says: {reason}"));
                    }
                    note(&format!("the server says: {reason}"));
                    continue;
                }
                _ => {}
            }
            match self.printer.print(&event) {
                Ok(true) => {}
                Ok(false) => return Over::Done,
                // The reader has gone (`resound tail … | head`).
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Over::Done,
                Err(error) => {
                    return Over::Failed(format!("can't write to standard output: {error}"));
                }
            }
        }
    }
}

fn explained(error: &OpenError) -> String {
    match error {
        OpenError::Connect(ConnectError::Refused(_)) => {
            format!("{error}; start the server with `resound`, or say with --url where it is")
        }
        _ => format!("{error}; `resound doctor` looks for the cause"),
    }
}

/// What isn't an event goes to standard error, so that the output can be piped.
fn note(text: &str) {
    eprintln!("resound: {text}");
}

struct Printer<'a, W> {
    out: &'a mut W,
    is_json: bool,
    /// events to come before the end
    left: Option<u64>,
}

impl<W: Write> Printer<'_, W> {
    /// `false` if that was the last one that is wanted.
    fn print(&mut self, event: &Event) -> io::Result<bool> {
        let now_s = i64::try_from(client::now_s()).unwrap_or(i64::MAX);
        let line = match self.is_json {
            true => json_line(event, &utc(now_s)),
            false => text_line(event, &utc(now_s)),
        };
        writeln!(self.out, "{line}")?;
        self.out.flush()?;
        if let Some(left) = &mut self.left
            && !event.event.starts_with("pusher")
        {
            *left -= 1;
            return Ok(*left > 0);
        }
        Ok(true)
    }
}

fn text_line(event: &Event, time: &str) -> String {
    let channel = event.channel.as_deref().unwrap_or("-");
    one_line(&format!(
        "{time} {channel} {} {}",
        event.event,
        event.data_text()
    ))
}

fn json_line(event: &Event, time: &str) -> String {
    let mut line = json!({
        "time": time,
        "channel": event.channel,
        "event": event.event,
        "data": event.data,
    });
    if let Some(user_id) = &event.user_id {
        line["user_id"] = user_id.clone();
    }
    line.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Event {
        serde_json::from_str(text).expect(text)
    }

    #[test]
    fn the_page_it_comes_from_is_allowed() {
        let address = Address::parse("http://127.0.0.1:8080").expect("an address");
        let check = |origins: &str, expected: &str| {
            let app = "[[apps]]\nid = '7'\nkey = 'k'\nsecret = 's'\nallowed_origins = ";
            let settings = crate::config::from_toml(&format!("{app}{origins}")).expect(origins);
            let origin = allowed_origin(&settings.apps[0], &address);
            assert_eq!(origin, expected);
            assert!(settings.apps[0].allows_origin(Some(&origin)), "{origins}");
        };
        check("[]", "http://127.0.0.1:8080");
        check("['127.0.0.1', 'example.com']", "http://127.0.0.1:8080");
        check("['example.com']", "https://example.com");
        check("['https://*.example.com:8443']", "https://any.example.com");
    }

    #[test]
    fn lines_for_people_and_for_programs() {
        let check = |text: &str, expected: &str, expected_json: &str| {
            let event = event(text);
            assert_eq!(text_line(&event, "T"), expected);
            assert_eq!(json_line(&event, "T"), expected_json);
        };
        check(
            r#"{"event":"e","channel":"c","data":"{\"a\":\"\u001b\\n\"}\n"}"#,
            r#"T c e {"a":"\u{1b}\n"}\n"#,
            r#"{"channel":"c","data":"{\"a\":\"\u001b\\n\"}\n","event":"e","time":"T"}"#,
        );
        check(
            r#"{"event":"client-e","channel":"c","data":{"a":1},"user_id":"7"}"#,
            r#"T c client-e {"a":1}"#,
            r#"{"channel":"c","data":{"a":1},"event":"client-e","time":"T","user_id":"7"}"#,
        );
        check(
            r#"{"event":"e"}"#,
            "T - e ",
            r#"{"channel":null,"data":null,"event":"e","time":"T"}"#,
        );
    }

    #[test]
    fn only_the_apps_own_events_count() {
        let mut out = Vec::new();
        let mut printer = Printer {
            out: &mut out,
            is_json: false,
            left: Some(2),
        };
        let mut print = |name: &str| {
            let text = format!(r#"{{"event":"{name}","channel":"c"}}"#);
            printer.print(&event(&text)).expect("written")
        };
        assert!(print("pusher_internal:member_added"));
        assert!(print("a"));
        assert!(print("pusher:cache_miss"));
        assert!(!print("b"));
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 4);
    }

    #[test]
    fn channels_that_cannot_be_listened_to() {
        let check = |channel: &str, user_id: Option<&str>, part: Option<&str>| {
            let member = user_id.map(|id| Member {
                user_id: id.to_owned(),
                user_info: None,
            });
            let checked = check_channels(&[channel.to_owned()], member.as_ref());
            match (checked, part) {
                (Ok(()), None) => {}
                (Err(error), Some(part)) => assert!(error.contains(part), "{error}"),
                (other, _) => panic!("{channel}: {other:?}"),
            }
        };
        check("a", None, None);
        check("private-encrypted-a", None, None);
        check("presence-a", Some("1"), None);
        check("presence-a", None, Some("--user-id"));
        check("a b", None, Some("no name of a channel"));
        check("#server-to-user-1", None, Some("signed-in user"));
    }
}

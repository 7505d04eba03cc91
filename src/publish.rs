//! `resound publish`: sends an event as the app's PHP would, and prints the answer.
use crate::{
    client::{
        self, Address,
        http::{Http, RequestError},
    },
    config::Settings,
    protocol::socket_id::SocketId,
};
use clap::Args;
use serde_json::{Value, json};
use std::{
    error::Error,
    io::{self, Read},
    time::Duration,
};

/// As long as PHP waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// Far more than any server takes.
const DATA_BYTES_MAX: u64 = 64 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct PublishArguments {
    /// Channels, separated by commas
    #[arg(
        long = "channel",
        value_name = "CHANNEL",
        value_delimiter = ',',
        required_unless_present = "user",
        conflicts_with = "user"
    )]
    pub channels: Vec<String>,
    /// Name of the event
    #[arg(long)]
    pub event: String,
    /// Data of the event as JSON; - reads it from standard input
    #[arg(long, value_name = "JSON|-", allow_hyphen_values = true)]
    pub data: String,
    /// App to sign for [default: the Laravel app's, else the first]
    #[arg(long, value_name = "ID")]
    pub app: Option<String>,
    /// Server to ask, such as https://ws.example.com [default: what the settings say]
    #[arg(long, value_parser = Address::parse)]
    pub url: Option<Address>,
    /// Connection that gets nothing
    #[arg(long, value_name = "ID")]
    pub socket_id: Option<String>,
    /// Signed-in user that gets it, instead of channels
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// What to be told of the channels: user_count, subscription_count
    #[arg(long, value_name = "LIST")]
    pub info: Option<String>,
}

/// Publishes and returns what the server answered. Fails with a sentence if it said anything but 200.
pub fn run(settings: &Settings, arguments: &PublishArguments) -> Result<String, Box<dyn Error>> {
    let app = client::find_app(settings, arguments.app.as_deref())?;
    let address = match &arguments.url {
        Some(url) => url.clone(),
        None => Address::of_server(settings)?,
    };
    let body = body(arguments, &mut io::stdin().lock())?;
    let sent = client::block_on(async {
        let http = Http::to(&address, PATIENCE);
        http.post_signed(&address, app, "/events", body).await
    })?;
    let answer = sent.map_err(|error| {
        let cure = match error {
            RequestError::NotListening => {
                "; start the server with `resound`, or say with --url where it is"
            }
            _ => "",
        };
        format!("no answer from {address}: {error}{cure}")
    })?;
    let text = client::one_line(answer.body.trim());
    match answer.status {
        200 => Ok(text),
        status => Err(format!("{address} refuses the event with status {status}: {text}").into()),
    }
}

/// The request's body, its members in PHP's order.
fn body(arguments: &PublishArguments, input: &mut impl Read) -> Result<String, String> {
    let data = data(&arguments.data, input)?;
    let name = json!(arguments.event);
    let mut body = format!(r#"{{"name":{name},"data":{}"#, json!(data));
    let mut add = |key: &str, value: Value| body.push_str(&format!(r#","{key}":{value}"#));
    match (&arguments.user, arguments.channels.as_slice()) {
        (Some(user), _) => add("channel", format!("#server-to-user-{user}").into()),
        (None, [channel]) => add("channel", channel.as_str().into()),
        (None, channels) => add("channels", channels.into()),
    }
    if let Some(socket_id) = &arguments.socket_id {
        if SocketId::parse(socket_id).is_err() {
            return Err(format!(
                "--socket-id is two numbers with a dot between them, such as 1234.5678, not {socket_id}"
            ));
        }
        add("socket_id", socket_id.as_str().into());
    }
    if let Some(info) = &arguments.info {
        add("info", info.as_str().into());
    }
    body.push('}');
    Ok(body)
}

/// JSON text, unchanged: what subscribers get is what was given, byte for byte.
fn data(given: &str, input: &mut impl Read) -> Result<String, String> {
    let (text, from) = match given {
        "-" => (read_all(input)?, "standard input"),
        text => (text.to_owned(), "--data"),
    };
    match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(text.trim().to_owned()),
        Err(error) => Err(format!(
            "{from} is not JSON ({error}); a plain text needs its quotes, such as --data '\"text\"'"
        )),
    }
}

fn read_all(input: &mut impl Read) -> Result<String, String> {
    let mut text = String::new();
    let read = input.take(DATA_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| format!("standard input can't be read: {error}"))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(data: &str) -> PublishArguments {
        PublishArguments {
            channels: vec!["a".to_owned()],
            event: "e\"1".to_owned(),
            data: data.to_owned(),
            ..PublishArguments::default()
        }
    }

    fn made(arguments: &PublishArguments, input: &str) -> Result<String, String> {
        body(arguments, &mut input.as_bytes())
    }

    #[test]
    fn bodies_are_phps() {
        let check = |change: fn(&mut PublishArguments), expected: &str| {
            let mut arguments = arguments(r#"{"b": 1}"#);
            change(&mut arguments);
            let start = r#"{"name":"e\"1","data":"{\"b\": 1}","#;
            assert_eq!(made(&arguments, ""), Ok(format!("{start}{expected}}}")));
        };
        check(|_| {}, r#""channel":"a""#);
        check(
            |with| with.channels.push("b".to_owned()),
            r#""channels":["a","b"]"#,
        );
        check(
            |with| with.user = Some("7".to_owned()),
            r##""channel":"#server-to-user-7""##,
        );
        check(
            |with| {
                with.socket_id = Some("1.2".to_owned());
                with.info = Some("user_count".to_owned());
            },
            r#""channel":"a","socket_id":"1.2","info":"user_count""#,
        );
    }

    #[test]
    fn data_is_any_json_from_the_line_or_from_standard_input() {
        let check = |given: &str, input: &str, expected: Result<&str, &str>| {
            let found = data(given, &mut input.as_bytes());
            match (&found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                _ => panic!("{given} {input}: {found:?}"),
            }
        };
        check("{}", "", Ok("{}"));
        check("-", "[1, 2]\n", Ok("[1, 2]"));
        check("-5", "", Ok("-5"));
        check("\"text\"", "", Ok("\"text\""));
        check("text", "", Err("--data is not JSON"));
        check("", "", Err("--data is not JSON"));
        check("{} {}", "", Err("--data is not JSON"));
        check("-", "", Err("standard input is not JSON"));
    }

    #[test]
    fn a_wrong_socket_id_is_named() {
        let mut arguments = arguments("{}");
        arguments.socket_id = Some("12".to_owned());
        let error = made(&arguments, "").expect_err("refused");
        assert!(error.starts_with("--socket-id is two numbers"), "{error}");
    }
}

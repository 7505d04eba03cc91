//! What is asked for on the command line.
use std::fmt;

pub const USAGE: &str = "usage: performance [--quick] [--rounds N] [NAME=URL[,pid=PID]…[,app=ID][,key=KEY][,secret=SECRET]]…

Measures Resound, with one worker and with its default, the floor, and every server that is named. Prints Markdown.
Without app, key and secret a server has the app 1001 with app-key and app-secret. A server on several processes has several pids.
--quick takes one short round and leaves out stalled readers.";

/// A server that the reader has started.
#[derive(Clone, PartialEq, Eq)]
pub struct Peer {
    pub name: String,
    pub url: String,
    pub pids: Vec<String>,
    pub app: String,
    pub key: String,
    pub secret: String,
}

/// Without the secret.
impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.url)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    pub is_quick: bool,
    pub rounds: usize,
    pub peers: Vec<Peer>,
}

impl Arguments {
    /// An error is a sentence.
    pub fn parse(given: impl IntoIterator<Item = String>) -> Result<Arguments, String> {
        let (mut is_quick, mut rounds, mut peers) = (false, None, Vec::new());
        let mut given = given.into_iter();
        while let Some(one) = given.next() {
            match one.as_str() {
                "--quick" => is_quick = true,
                "--rounds" => {
                    let number = given.next().and_then(|number| number.parse().ok());
                    let number = number.filter(|number| (1..=100).contains(number));
                    rounds = Some(number.ok_or("--rounds takes a number from 1 to 100")?);
                }
                _ if one.starts_with('-') => return Err(format!("there is no option {one}")),
                _ => peers.push(Peer::parse(&one)?),
            }
        }
        Ok(Arguments {
            is_quick,
            rounds: rounds.unwrap_or(if is_quick { 1 } else { 3 }),
            peers,
        })
    }
}

impl Peer {
    fn parse(text: &str) -> Result<Peer, String> {
        let wrong = || format!("{text} isn't NAME=URL,pid=PID,app=ID,key=KEY,secret=SECRET");
        let mut parts = text.split(',');
        let (name, url) = parts
            .next()
            .and_then(|first| first.split_once('='))
            .ok_or_else(wrong)?;
        let mut peer = Peer {
            name: name.to_owned(),
            url: url.to_owned(),
            pids: Vec::new(),
            app: "1001".to_owned(),
            key: "app-key".to_owned(),
            secret: "app-secret".to_owned(),
        };
        for part in parts {
            let (what, value) = part.split_once('=').ok_or_else(wrong)?;
            let value = value.to_owned();
            match what {
                "pid" => peer.pids.push(value),
                "app" => peer.app = value,
                "key" => peer.key = value,
                "secret" => peer.secret = value,
                _ => return Err(wrong()),
            }
        }
        Ok(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn servers_are_named_with_what_reaches_them() {
        let arguments = parse("--quick a=http://x:1 b=http://y,pid=1,pid=2,app=i,key=k,secret=s");
        let arguments = arguments.expect("right");
        assert!(arguments.is_quick);
        assert_eq!(arguments.rounds, 1);
        let [first, second] = &arguments.peers[..] else {
            panic!("two");
        };
        assert_eq!((&*first.name, &*first.url), ("a", "http://x:1"));
        assert_eq!((&*first.key, &*first.secret), ("app-key", "app-secret"));
        assert_eq!(second.pids, ["1", "2"]);
        assert_eq!(
            (&*second.app, &*second.key, &*second.secret),
            ("i", "k", "s")
        );
        assert_eq!(parse("--rounds 2").expect("right").rounds, 2);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let check = |line: &str, part: &str| {
            let error = parse(line).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        };
        check("--fast", "no option --fast");
        check("--rounds", "1 to 100");
        check("--rounds 0", "1 to 100");
        check("soketi", "soketi isn't NAME=URL");
        check("a=http://x,pid", "isn't NAME=URL");
        check("a=http://x,port=1", "isn't NAME=URL");
    }
}

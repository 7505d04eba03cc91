//! Healthy clients: they read what comes, stay for the whole wave, and must get each message once and in order.
use crate::{
    PATIENCE,
    client::Client,
    field::{Field, STREAMS, Stream},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

/// Where visitors come and go.
pub const HALL: &str = "presence-hall";
/// Where members speak to each other.
pub const TALK: &str = "private-talk";
/// More than a client that doesn't read can have waiting.
pub const FLOOD: &str = "flood";
/// Whom the backend speaks to by name.
pub const PERSON: &str = "person";
/// The channel behind that.
pub const PERSON_CHANNEL: &str = "#server-to-user-person";

/// Which streams come over which channels.
const CHANNELS: [(&str, &[Stream]); 11] = [
    ("news", &[Stream::News]),
    ("private-desk", &[Stream::Desk]),
    (HALL, &[Stream::Desk]),
    ("private-encrypted-vault", &[Stream::Batch]),
    ("batch", &[Stream::Batch]),
    ("cache-score", &[Stream::Cache]),
    ("private-cache-score", &[Stream::Cache]),
    (PERSON_CHANNEL, &[Stream::Person]),
    (FLOOD, &[Stream::Flood]),
    ("twice", &[Stream::Twice]),
    (TALK, &[Stream::Talk]),
];

/// Milliseconds between two client events.
const TALK_MS: u64 = 20;

/// What one listener does.
pub struct Role {
    user: String,
    channels: Vec<&'static str>,
    is_person: bool,
    /// says the client events, and so doesn't hear them
    is_talker: bool,
}

/// Several on every channel, and some who have only one.
pub fn roles() -> Vec<Role> {
    let others = |channel: &&str| *channel != PERSON_CHANNEL;
    let all = || CHANNELS.iter().map(|(channel, _)| *channel).filter(others);
    let everywhere = (0..8).map(|number| Role {
        user: format!("watcher-{number}"),
        channels: all().collect(),
        is_person: number % 2 == 0,
        is_talker: number == 0,
    });
    let somewhere = all().cycle().take(40).enumerate();
    let somewhere = somewhere.map(|(number, channel)| Role {
        user: format!("guest-{number}"),
        channels: vec![channel],
        is_person: false,
        is_talker: false,
    });
    everywhere.chain(somewhere).collect()
}

/// What one listener has heard.
#[derive(Debug, Default)]
struct Ledger {
    wave: usize,
    /// the next number of each stream on each channel
    next: BTreeMap<(String, usize), u64>,
    members: BTreeSet<String>,
    wrongs: Vec<String>,
}

/// Until all that was published has come.
pub async fn run(field: Arc<Field>, role: Role) {
    let mut ledger = Ledger {
        wave: field.number,
        ..Ledger::default()
    };
    let listened = listen(&field, &role, &mut ledger).await;
    let reason = listened.err().into_iter();
    for wrong in ledger.wrongs.into_iter().chain(reason) {
        field.fault(format!("{}: {wrong}", role.user));
    }
}

async fn listen(field: &Field, role: &Role, ledger: &mut Ledger) -> Result<(), String> {
    let mut client = Client::connect(field).await?;
    for channel in &role.channels {
        client.ask(field, channel, &role.user).await?;
        hear_until(
            &mut client,
            ledger,
            "pusher_internal:subscription_succeeded",
        )
        .await?;
    }
    if role.is_person {
        client.sign_in(field, PERSON).await?;
        hear_until(&mut client, ledger, "pusher:signin_success").await?;
    }
    field.is_ready();

    let mut talk_at = Instant::now();
    while !field.is_published() {
        let may_talk = field.has_begun() && !field.is_over();
        if role.is_talker && may_talk && talk_at <= Instant::now() {
            talk_at = Instant::now() + Duration::from_millis(TALK_MS);
            let data = field.message(Stream::Talk);
            let said = json!({ "event": "client-said", "channel": TALK, "data": data });
            client.send(said).await?;
        }
        hear_for(&mut client, ledger, Duration::from_millis(TALK_MS)).await?;
    }
    let deadline = Instant::now() + PATIENCE;
    while !ledger.missing(field, role).is_empty() {
        hear_for(&mut client, ledger, Duration::from_millis(50)).await?;
        if Instant::now() >= deadline {
            return Err(format!("lost: {}", ledger.missing(field, role).join(", ")));
        }
    }
    // what comes twice would come before the answer
    client.send(json!({ "event": "pusher:ping" })).await?;
    hear_until(&mut client, ledger, "pusher:pong").await?;
    let heard: u64 = ledger.next.values().sum();
    field.did_times("messages heard, each once and in order", heard);
    client.close().await;
    Ok(())
}

async fn hear_for(client: &mut Client, ledger: &mut Ledger, time: Duration) -> Result<(), String> {
    match timeout(time, client.next()).await {
        Ok(event) => ledger.hear(&event?),
        Err(_) => sleep(Duration::ZERO).await,
    }
    Ok(())
}

async fn hear_until(client: &mut Client, ledger: &mut Ledger, last: &str) -> Result<(), String> {
    let hearing = async {
        loop {
            let event = client.next().await?;
            ledger.hear(&event);
            if event["event"] == last {
                return Ok(());
            }
        }
    };
    let heard = timeout(PATIENCE, hearing).await;
    heard.map_err(|_| format!("no {last} in time"))?
}

impl Ledger {
    fn hear(&mut self, event: &Value) {
        let channel = event["channel"].as_str().unwrap_or_default().to_owned();
        let data = event["data"].as_str().unwrap_or_default();
        match event["event"].as_str().unwrap_or_default() {
            "said" | "client-said" => self.count(channel, data),
            "pusher_internal:subscription_succeeded" if channel == HALL => {
                let data: Value = serde_json::from_str(data).unwrap_or_default();
                let ids = data["presence"]["ids"].as_array().into_iter().flatten();
                self.members = ids.filter_map(Value::as_str).map(str::to_owned).collect();
            }
            "pusher_internal:member_added" => self.member(data, "joined twice", |members, user| {
                members.insert(user.to_owned())
            }),
            "pusher_internal:member_removed" => {
                self.member(data, "left twice", |members, user| members.remove(user));
            }
            "pusher:error" => self.wrongs.push(event.to_string()),
            _ => {}
        }
    }

    fn count(&mut self, channel: String, data: &str) {
        let mut numbers = data
            .split(' ')
            .filter_map(|number| number.parse::<u64>().ok());
        let (Some(wave), Some(stream), Some(number)) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            self.wrongs
                .push(format!("{channel}: not a message: {data}"));
            return;
        };
        // a cache channel begins with the last event of the wave before
        if wave != self.wave as u64 {
            return;
        }
        let next = self.next.entry((channel.clone(), stream as usize));
        let next = next.or_default();
        if number != *next {
            let wrong = format!("{channel}: {number} of stream {stream} came instead of {next}");
            self.wrongs.push(wrong);
        }
        *next = number + 1;
    }

    fn member(
        &mut self,
        data: &str,
        wrong: &str,
        change: impl Fn(&mut BTreeSet<String>, &str) -> bool,
    ) {
        let data: Value = serde_json::from_str(data).unwrap_or_default();
        let user = data["user_id"].as_str().unwrap_or_default();
        if !change(&mut self.members, user) {
            self.wrongs.push(format!("{HALL}: {user} {wrong}"));
        }
    }

    /// What hasn't come, and members who are believed to be there still.
    fn missing(&self, field: &Field, role: &Role) -> Vec<String> {
        let mut missing = Vec::new();
        for (channel, streams) in CHANNELS {
            let is_here = match channel == PERSON_CHANNEL {
                true => role.is_person,
                false => role.channels.contains(&channel),
            };
            for stream in streams.iter().map(|stream| *stream as usize) {
                let heard = self.next.get(&(channel.to_owned(), stream));
                let (heard, sent) = (heard.copied().unwrap_or(0), field.sent(stream));
                let is_own = role.is_talker && channel == TALK;
                if is_here && !is_own && heard < sent {
                    missing.push(format!("{channel}: {heard} of {sent} in stream {stream}"));
                }
            }
        }
        let visitors = self.members.iter();
        let visitors = visitors.filter(|user| user.starts_with("visitor"));
        missing.extend(visitors.map(|user| format!("{HALL}: that {user} left")));
        missing
    }
}

const _: () = assert!(Stream::Talk as usize + 1 == STREAMS);

#[test]
fn a_ledger_finds_what_is_wrong() {
    let check = |heard: &[&str], expected: &[&str]| {
        let mut ledger = Ledger {
            wave: 1,
            ..Ledger::default()
        };
        for data in heard {
            ledger.hear(&json!({ "event": "said", "channel": "a", "data": data }));
        }
        assert_eq!(ledger.wrongs, expected, "{heard:?}");
    };
    check(&["1 0 0", "1 0 1", "1 3 0", "0 0 9"], &[]);
    check(&["1 0 0", "1 0 0"], &["a: 0 of stream 0 came instead of 1"]);
    check(&["1 0 0", "1 0 2"], &["a: 2 of stream 0 came instead of 1"]);
    check(&["rubbish"], &["a: not a message: rubbish"]);
}

#[test]
fn a_ledger_knows_who_is_there() {
    let mut ledger = Ledger::default();
    let mut hear = |event: &str| {
        let event = format!("pusher_internal:member_{event}");
        ledger.hear(&json!({ "event": event, "channel": HALL, "data": "{\"user_id\":\"ann\"}" }));
        ledger.wrongs.len()
    };
    let heard = ["added", "removed", "removed", "added", "added"].map(&mut hear);
    assert_eq!(heard, [0, 0, 1, 1, 2]);
}

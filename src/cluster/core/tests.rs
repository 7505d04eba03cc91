use std::time::Duration;

use super::*;
use crate::{
    cluster::{
        rules::Rules,
        terms::{
            Body, Call, Happening, Joined, Open, Published, Registered, Telling, Ticket, Wanted,
            What,
        },
    },
    frame::Frame,
    hub::inbox::WorkerId,
    protocol::channel::ChannelName,
};

const ORIGIN: &str = "here";

fn key(name: &str) -> ChannelKey {
    ChannelKey {
        app: 0,
        name: ChannelName::parse(name, 200).expect("a name"),
    }
}

fn join(hold: Option<Duration>) -> Ask {
    Ask::Join {
        worker: WorkerId(0),
        ticket: Ticket(1),
        member: None,
        members_max: 0,
        rules: Rules {
            is_told: true,
            hold,
            ..Rules::default()
        },
    }
}

fn leave() -> Ask {
    Ask::Leave {
        worker: WorkerId(0),
        user_id: None,
        rules: Rules::default(),
    }
}

fn event() -> Arc<Event> {
    Arc::new(Event {
        body: Body::Frame(Frame::text("{}")),
        except: None,
        cached_for: None,
        published: Instant::now(),
    })
}

fn take(core: &mut Core, input: Input) -> Vec<Output> {
    let mut out = Vec::new();
    core.take(input, &mut out);
    out
}

/// Redis has let one in.
fn joined(sequence: u64, subscriptions: u32, events: u64, life: u64) -> Answer {
    Answer::Joined(Joined::Yes {
        sequence,
        subscriptions,
        is_new_member: false,
        told: Telling::No,
        is_return: false,
        is_members_return: false,
        kept: None,
        members: Vec::new(),
        events,
        life,
        doubt: None,
    })
}

/// A core with a subscriber on a channel, as Redis knows; it had `events` events until then, the last one at sequence 100.
fn subscribed(channel: &ChannelKey, events: u64) -> Core {
    let mut core = Core::new(ORIGIN.into(), 1 << 20);
    take(&mut core, Input::Up { was_emptied: false });
    take(&mut core, Input::Ask(channel.clone(), join(None)));
    take(&mut core, Input::Subscribed(channel.clone()));
    let answers = vec![joined(100, 2, events, 1)];
    take(&mut core, Input::Answers(channel.clone(), answers));
    assert!(core.view(channel).is_some());
    core
}

fn registered(sequence: u64, events: u64) -> Registered {
    Registered {
        sequence: Some(sequence),
        subscriptions: 2,
        missed: 0,
        events,
        history: Vec::new(),
        news: Vec::new(),
        members: Vec::new(),
        kept: None,
        life: 1,
        doubt: None,
        doubtful: Vec::new(),
        told: Telling::No,
    }
}

fn message(sequence: u64, number: u64) -> Message {
    Message {
        sequence,
        what: What::Event(event()),
        origin: "there".into(),
        number,
        events: number,
    }
}

/// What the core asks Redis of the channel.
fn calls(out: &[Output]) -> Vec<&Call> {
    let calls = out.iter().filter_map(|output| match output {
        Output::Call(_, calls) => Some(calls),
        _ => None,
    });
    calls.flatten().collect()
}

fn missed(out: &[Output]) -> u64 {
    let missed = out.iter().map(|output| match output {
        Output::Missed(events) => *events,
        _ => 0,
    });
    missed.sum()
}

fn told(out: &[Output]) -> usize {
    let told = |output: &&Output| matches!(output, Output::Tell { .. });
    out.iter().filter(told).count()
}

#[test]
fn a_channel_that_redis_never_heard_of_is_forgotten_with_its_last_subscriber() {
    let mut core = Core::new(ORIGIN.into(), 1 << 20);
    let known = key("known");
    for number in 0..100 {
        let channel = key(&format!("room-{number}"));
        take(&mut core, Input::Ask(channel.clone(), join(None)));
        assert!(core.knows(&channel));
        let out = take(&mut core, Input::Ask(channel.clone(), leave()));
        let is_forgotten = |output: &Output| matches!(output, Output::Forgotten(_));
        assert!(out.iter().any(is_forgotten), "{out:?}");
    }
    assert_eq!(core.channels.len(), 0);
    take(&mut core, Input::Ask(known.clone(), join(None)));
    let out = take(&mut core, Input::Up { was_emptied: false });
    assert!(matches!(&out[..], [Output::Subscribe(channel)] if *channel == known));
}

#[test]
fn a_channel_that_redis_knows_is_registered_though_everybody_has_left_meanwhile() {
    let channel = key("room");
    let mut core = subscribed(&channel, 0);
    take(&mut core, Input::Down);
    take(&mut core, Input::Ask(channel.clone(), leave()));
    let out = take(&mut core, Input::Up { was_emptied: false });
    let registration = calls(&out);
    let [Call::Register { subscriptions, .. }] = &registration[..] else {
        panic!("{out:?}");
    };
    assert_eq!(*subscriptions, 0);
}

#[test]
fn news_that_are_written_down_as_waiting_are_asked_for_before_they_are_told() {
    let channel = key("room");
    let mut core = subscribed(&channel, 0);
    take(&mut core, Input::Down);
    take(&mut core, Input::Up { was_emptied: false });
    take(&mut core, Input::Subscribed(channel.clone()));
    let news = Open {
        number: 7,
        happening: Happening::Vacated,
        is_held: true,
    };
    let answer = Answer::Registered(Registered {
        news: vec![news],
        ..registered(101, 0)
    });
    let out = take(&mut core, Input::Answers(channel, vec![answer]));
    let waits = out.iter().filter_map(|output| match output {
        Output::Happened { wait, .. } => Some(*wait),
        _ => None,
    });
    // nothing waits by the rules in force now
    assert_eq!(waits.collect::<Vec<_>>(), [Some(Duration::ZERO)]);
}

#[test]
fn events_that_waited_here_are_not_counted_as_missed() {
    let channel = key("room");
    let mut core = subscribed(&channel, 0);
    // the first two are left out
    let out = take(&mut core, Input::Message(channel.clone(), message(103, 3)));
    assert_eq!(calls(&out).len(), 1, "a registration: {out:?}");
    take(&mut core, Input::Message(channel.clone(), message(104, 4)));
    let answer = Answer::Registered(Registered {
        missed: 4,
        ..registered(105, 4)
    });
    let out = take(&mut core, Input::Answers(channel, vec![answer]));
    assert_eq!((missed(&out), told(&out)), (2, 2));
}
/// The answer says that everybody will hear it, and the connection ends before the message comes.
#[test]
fn an_event_that_redis_has_taken_is_told_though_its_message_is_lost() {
    let channel = key("room");
    let mut core = subscribed(&channel, 5);
    let publish = || Ask::Publish {
        ticket: None,
        event: event(),
    };
    take(&mut core, Input::Ask(channel.clone(), publish()));
    let published = Answer::Published(Published {
        sequence: Some(101),
        subscriptions: 2,
    });
    let answers = Input::Answers(channel.clone(), vec![published]);
    assert_eq!(told(&take(&mut core, answers)), 0);
    assert_eq!(told(&take(&mut core, Input::Down)), 1);
    let alone = take(&mut core, Input::Ask(channel.clone(), publish()));
    assert_eq!(told(&alone), 1);
    assert_eq!(told(&take(&mut core, Input::Down)), 0);
}

#[test]
fn what_waits_for_a_registration_has_a_limit() {
    const EVENTS: u64 = 10_000;
    let channel = key("room");
    let mut core = subscribed(&channel, 0);
    for number in 2..=EVENTS {
        let message = message(100 + number, number);
        take(&mut core, Input::Message(channel.clone(), message));
    }
    let answer = Answer::Registered(Registered {
        missed: EVENTS,
        ..registered(100 + EVENTS + 1, EVENTS)
    });
    let out = take(&mut core, Input::Answers(channel, vec![answer]));
    let told = told(&out) as u64;
    assert!(told > 1_000 && told < EVENTS, "{told}");
    assert_eq!(missed(&out), EVENTS - told);
}

/// Redis has let in one more, after a message that this node couldn't read: nothing else may ever be told on the channel.
#[test]
fn who_joins_after_a_message_that_nobody_here_can_read_is_let_in() {
    let joined = |sequence| joined(sequence, 3, 0, 1);
    let is_let_in = |out: &[Output]| out.iter().any(|o| matches!(o, Output::Joined { .. }));
    let skipped =
        |core: &mut Core, channel: &ChannelKey| take(core, Input::Skipped(channel.clone()));
    let registered_at = |core: &mut Core, channel: &ChannelKey, sequence| {
        let answers = vec![Answer::Registered(registered(sequence, 0))];
        take(core, Input::Answers(channel.clone(), answers))
    };
    let channel = key("room");
    // it comes before the answer
    let mut core = subscribed(&channel, 0);
    take(&mut core, Input::Ask(channel.clone(), join(None)));
    skipped(&mut core, &channel);
    let answers = vec![joined(101)];
    let out = take(&mut core, Input::Answers(channel.clone(), answers));
    assert!(
        matches!(calls(&out)[..], [Call::Register { .. }]),
        "{out:?}"
    );
    assert!(is_let_in(&registered_at(&mut core, &channel, 102)));
    // it comes while the channel is being registered, and is none of those that the answer knows
    let mut core = subscribed(&channel, 0);
    let out = skipped(&mut core, &channel);
    assert!(
        matches!(calls(&out)[..], [Call::Register { .. }]),
        "{out:?}"
    );
    skipped(&mut core, &channel);
    let out = registered_at(&mut core, &channel, 102);
    assert!(
        matches!(calls(&out)[..], [Call::Register { .. }]),
        "{out:?}"
    );
    take(&mut core, Input::Ask(channel.clone(), join(None)));
    let out = registered_at(&mut core, &channel, 104);
    assert!(matches!(calls(&out)[..], [Call::Join { .. }]), "{out:?}");
    let out = take(&mut core, Input::Answers(channel, vec![joined(104)]));
    assert!(is_let_in(&out), "{out:?}");
}

/// Redis has lost the channel while one more was arriving.
#[test]
fn who_is_arriving_is_let_in_by_the_registration() {
    let channel = key("room");
    let mut core = subscribed(&channel, 0);
    take(&mut core, Input::Ask(channel.clone(), join(None)));
    let answers = vec![joined(150, 1, 0, 2)];
    let out = take(&mut core, Input::Answers(channel, answers));
    let registration = calls(&out);
    let [Call::Register { seen, .. }] = &registration[..] else {
        panic!("{out:?}");
    };
    assert_eq!(*seen, 150);
}

#[test]
fn the_first_join_asks_for_everything() {
    let channel = key("room");
    let mut core = Core::new(ORIGIN.into(), 1 << 20);
    take(&mut core, Input::Up { was_emptied: false });
    take(&mut core, Input::Ask(channel.clone(), join(None)));
    let out = take(&mut core, Input::Subscribed(channel));
    let asked = calls(&out);
    let [Call::Join { wanted, .. }] = &asked[..] else {
        panic!("{out:?}");
    };
    assert_eq!(*wanted, Wanted::All);
}

/// Redis doesn't count that far; what is written there may be anybody's.
#[test]
fn no_sequence_is_too_large() {
    let channel = key("room");
    let mut core = subscribed(&channel, 0);
    let last = |number| Input::Message(channel.clone(), message(u64::MAX, number));
    take(&mut core, last(1));
    let answers = |events| {
        let answer = Answer::Registered(registered(u64::MAX, events));
        Input::Answers(channel.clone(), vec![answer])
    };
    take(&mut core, answers(1));
    take(&mut core, last(2));
    take(&mut core, Input::Down);
    let publish = Ask::Publish {
        ticket: None,
        event: event(),
    };
    let out = take(&mut core, Input::Ask(channel.clone(), publish));
    assert_eq!(told(&out), 1, "{out:?}");
    take(&mut core, Input::Up { was_emptied: false });
    take(&mut core, Input::Subscribed(channel.clone()));
    take(&mut core, last(3));
    take(&mut core, answers(3));
}

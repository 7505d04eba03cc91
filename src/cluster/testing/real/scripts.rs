//! What the scripts do with clocks and times, which the model has none of.

use std::{sync::Arc, time::Duration};

use super::{PATIENCE, RedisServer, caller::Real, event, key, texts};
use crate::{
    cluster::{
        nodes,
        rules::Rules,
        scripts::{History, Scripts},
        terms::{Answer, Call, Joined, Lost, Present, Telling, Wanted, What},
    },
    hub::inbox::ChannelKey,
    protocol::{channel::ChannelName, presence::Member},
};

/// A subscription that counts are told of.
fn counted_join(number: u64) -> Call {
    Call::Join {
        member: None,
        members_max: 0,
        rules: Rules {
            tell_count: true,
            ..Rules::default()
        },
        wanted: Wanted::Nothing,
        number,
    }
}

/// Of channels without members nobody finds out who is there. They are counted again all the same when the time is over.
#[tokio::test]
async fn what_was_in_doubt_for_long_enough_is_in_doubt_no_more() {
    let server = RedisServer::start();
    let mut real = Real::connect(&server).await;
    let key = key();
    let state = real.names(&key).state;
    let now_ms = i64::try_from(
        std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("a clock")
            .as_millis(),
    )
    .expect("a time");
    let after = |milliseconds: i64| (now_ms + milliseconds).to_string();
    real.call(&key, "a", &counted_join(1)).await;
    for (doubt, expected) in [
        (after(60_000), Telling::Later),
        (after(-2_000), Telling::Done),
        ("0".to_owned(), Telling::Done),
    ] {
        server.order(&["HSET", &state, "doubt", &doubt]);
        match real.call(&key, "a", &counted_join(2)).await {
            Answer::Joined(Joined::Yes { told, .. }) => assert_eq!(told, expected, "{doubt}"),
            other => panic!("{other:?}"),
        }
        let leave = Call::Leave {
            user_id: None,
            rules: Rules {
                tell_count: true,
                ..Rules::default()
            },
            number: 3,
        };
        match real.call(&key, "a", &leave).await {
            Answer::Left(left) => assert_eq!(left.told, expected, "{doubt}"),
            other => panic!("{other:?}"),
        }
    }
}

/// How many events it had heard of an earlier life says nothing of the one that it finds.
#[tokio::test]
async fn what_redis_does_not_remember_is_missed_whichever_life_a_node_knows() {
    const REMEMBERED: u32 = 20;
    let server = RedisServer::start();
    let mut real = Real::connect(&server).await;
    let history = History {
        events_max: REMEMBERED,
        age_max: PATIENCE,
    };
    real.scripts = Scripts::new(false, history).with_doubt(PATIENCE);
    let key = key();
    let register = |life: u64, heard: (u64, u64)| Call::Register {
        subscriptions: 1,
        seen: 0,
        heard,
        life,
        members: Vec::new(),
        lost: Some(Lost::default()),
        rules: Rules::default(),
        number: 1,
    };
    // whether Redis is emptied in between, and whether the late node still knows which life it was
    for (is_emptied, knows) in [(false, true), (false, false), (true, true), (true, false)] {
        for (heard, unheard) in [(0_u64, 15_u64), (10, 15), (10, 50), (100, 50), (30, 30)] {
            server.order(&["FLUSHALL"]);
            let (life, _) = registered(real.call(&key, "a", &register(0, (0, 0))).await);
            let mut place = life;
            for _ in 0..heard {
                place = publish(&mut real, &key).await;
            }
            if is_emptied {
                server.order(&["FLUSHALL"]);
                real.call(&key, "a", &register(0, (0, 0))).await;
            }
            for _ in 0..unheard {
                publish(&mut real, &key).await;
            }
            let known = if knows { life } else { 0 };
            let late = real.call(&key, "b", &register(known, (place, heard))).await;
            let (_, missed) = registered(late);
            let expected = unheard.saturating_sub(u64::from(REMEMBERED));
            assert_eq!(missed, expected, "{is_emptied} {knows} {heard} {unheard}");
        }
    }
}

/// The life of the channel, and events that were missed.
fn registered(answer: Answer) -> (u64, u64) {
    match answer {
        Answer::Registered(registered) => (registered.life, registered.missed),
        other => panic!("{other:?}"),
    }
}

/// The sequence of one more event.
async fn publish(real: &mut Real, key: &ChannelKey) -> u64 {
    let publish = Call::Publish {
        number: 1,
        is_late: false,
        event: event("{}"),
    };
    match real.call(key, "a", &publish).await {
        Answer::Published(published) => published.sequence.expect("a subscriber"),
        other => panic!("{other:?}"),
    }
}

/// Whoever was lost doesn't stay for a year because the clock of Redis is set back by one.
#[tokio::test]
async fn nobody_is_in_doubt_for_longer_than_was_meant() {
    let server = RedisServer::start();
    let mut real = Real::connect(&server).await;
    let key = key();
    let state = real.names(&key).state;
    let member = |id: &str| {
        Arc::new(Member {
            user_id: id.into(),
            user_info: "{}".into(),
        })
    };
    let register = |life: u64, lost: Option<Lost>| Call::Register {
        subscriptions: 1,
        seen: 0,
        heard: (0, 0),
        life,
        members: vec![Present {
            member: member("ann"),
            connections: 1,
            is_latest: false,
        }],
        lost,
        rules: Rules::default(),
        number: 1,
    };
    let lost = Lost {
        members: vec![member("ann"), member("bob")],
        ..Lost::default()
    };
    let doubtful = |answer: Answer| match answer {
        Answer::Registered(registered) => (registered.life, registered.doubtful),
        other => panic!("{other:?}"),
    };
    let answer = real.call(&key, "a", &register(1, Some(lost))).await;
    let (life, in_doubt) = doubtful(answer);
    assert_eq!(in_doubt, ["bob"]);
    let (_, in_doubt) = doubtful(real.call(&key, "a", &register(life, None)).await);
    assert_eq!(in_doubt, ["bob"]);
    server.order(&["HINCRBY", &state, "doubt", "31536000000"]);
    let (_, in_doubt) = doubtful(real.call(&key, "a", &register(life, None)).await);
    assert_eq!(in_doubt, [""; 0]);
    let members = real.names(&key).members;
    assert_eq!(texts(&server, &["HKEYS", &members]), ["ann"]);
}

/// The clock of Redis leaps, as seen from signs of life that are older by it than they should be.
#[tokio::test]
async fn a_clock_that_leaps_is_nobodys_death() {
    let server = RedisServer::start();
    let mut real = Real::connect(&server).await;
    let heartbeat = Duration::from_secs(5);
    let keys = real.keys.clone();
    let nodes = keys.nodes();
    let living = |name: &'static str, is_first: bool| nodes::Living {
        name,
        load: "{}",
        is_first,
        sweeps: true,
        life: "",
    };
    for (name, is_first) in [("a", true), ("b", true), ("dies", true), ("a", false)] {
        let beat = nodes::beat(
            &mut real.connection,
            &keys,
            heartbeat,
            living(name, is_first),
        );
        assert_eq!(beat.await.expect("a beat").dead, [""; 0]);
    }
    for name in ["a", "b", "dies"] {
        server.order(&["ZINCRBY", &nodes, "-3600000", name]);
    }
    for (name, expected) in [("a", &[][..]), ("b", &[]), ("a", &["dies"]), ("b", &[])] {
        let beat = nodes::beat(&mut real.connection, &keys, heartbeat, living(name, false));
        assert_eq!(beat.await.expect("a beat").dead, expected, "{name}");
    }
}

/// Whoever begins to watch a user whose node hasn't said yet that he came is told that he is there; so are those who watch him already.
#[tokio::test]
async fn u22_a_user_is_there_for_those_who_begin_to_watch_him_before_his_node_says_so() {
    let server = RedisServer::start();
    let mut real = Real::connect(&server).await;
    let of = |name| ChannelKey { app: 0, name };
    let user = of(ChannelName::server_to_user("bob"));
    let watchers = of(ChannelName::watchers_of("bob"));
    let join = |number: u64| Call::Join {
        member: None,
        members_max: 0,
        rules: Rules::default(),
        wanted: Wanted::All,
        number,
    };
    let is_online = |answer: Answer| match answer {
        Answer::Joined(Joined::Yes { kept, .. }) => kept.is_some(),
        other => panic!("{other:?}"),
    };
    let topic = real.names(&watchers).topic;
    real.connection.subscribe(&topic).await.expect("subscribed");
    let answer = real.call(&watchers, "a", &join(1)).await;
    assert!(!is_online(answer), "nobody has come");
    real.call(&user, "b", &join(2)).await;
    let answer = real.call(&watchers, "c", &join(3)).await;
    assert!(is_online(answer), "he is there");
    let (_, what, _) = real.told().await;
    assert_eq!(what, What::Online(true));
    // his node says so, which is no news any more
    match real.call(&watchers, "b", &Call::Online(true)).await {
        Answer::Published(published) => assert_eq!(published.sequence, None),
        other => panic!("{other:?}"),
    }
    // who has left stays until that is told
    let leave = Call::Leave {
        user_id: None,
        rules: Rules::default(),
        number: 4,
    };
    real.call(&user, "b", &leave).await;
    let answer = real.call(&watchers, "d", &join(5)).await;
    assert!(is_online(answer), "his leaving isn't told");
    real.call(&watchers, "b", &Call::Online(false)).await;
    let (_, what, _) = real.told().await;
    assert_eq!(what, What::Online(false));
    let answer = real.call(&watchers, "e", &join(6)).await;
    assert!(!is_online(answer), "he has gone");
}

//! Random calls: the scripts answer and tell what the model does.

use std::{collections::HashMap, sync::Arc};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{PATIENCE, RedisServer, caller::Real, event, key};
use crate::{
    cluster::{
        rules::Rules,
        terms::{
            Answer, Call, Joined, Left, Lost, Present, Published, Registered, Telling, Wanted, What,
        },
        testing::model::{Redis as Model, Told},
    },
    protocol::presence::Member,
};

/// Sequences begin with the time: those of the model are moved to where the real ones are.
fn moved(answer: Answer, by: i128) -> Answer {
    let shift = |sequence: u64| u64::try_from(i128::from(sequence) + by).expect("a sequence");
    match answer {
        Answer::Joined(Joined::Yes {
            sequence,
            subscriptions,
            is_new_member,
            is_return,
            is_members_return,
            mut members,
            doubt,
            ..
        }) => {
            members.sort();
            Answer::Joined(Joined::Yes {
                sequence: shift(sequence),
                subscriptions,
                is_new_member,
                told: Telling::No,
                is_return,
                is_members_return,
                kept: None,
                members,
                events: 0,
                life: 0,
                doubt: doubt.map(|_| PATIENCE),
            })
        }
        Answer::Joined(Joined::Full) => Answer::Joined(Joined::Full),
        Answer::Left(left) => Answer::Left(Left {
            sequence: left.sequence.map(shift),
            ..left
        }),
        Answer::Published(published) => Answer::Published(Published {
            sequence: published.sequence.map(shift),
            ..published
        }),
        Answer::Registered(mut registered) => {
            registered.members.sort();
            registered.doubtful.sort();
            // when they were published is nobody's business
            registered.history.clear();
            Answer::Registered(Registered {
                sequence: registered.sequence.map(shift),
                life: 0,
                doubt: registered.doubt.map(|_| PATIENCE),
                ..registered
            })
        }
        Answer::Lost => Answer::Lost,
    }
}

fn sequence(answer: &Answer) -> Option<u64> {
    match answer {
        Answer::Joined(Joined::Yes { sequence, .. }) => Some(*sequence),
        Answer::Joined(Joined::Full) => None,
        Answer::Left(left) => left.sequence,
        Answer::Published(published) => published.sequence,
        Answer::Registered(registered) => registered.sequence,
        Answer::Lost => None,
    }
}

/// The life of the channel that an answer names.
fn life(answer: &Answer) -> Option<u64> {
    match answer {
        Answer::Joined(Joined::Yes { life, .. }) => Some(*life),
        Answer::Registered(registered) => Some(registered.life),
        _ => None,
    }
}

/// The call of a node that knows this life of the channel.
fn knowing(call: &Call, of: u64) -> Call {
    let mut call = call.clone();
    if let Call::Register { life, .. } = &mut call {
        *life = of;
    }
    call
}

fn text(what: &What) -> String {
    match what {
        What::Event(event) => format!("{:?}", event.body),
        // for how long is nobody's business
        What::Doubt(_) => "Doubt".to_owned(),
        what => format!("{what:?}"),
    }
}

fn random_call(
    random: &mut SmallRng,
    held: &mut HashMap<(usize, u32), u32>,
    node: usize,
    number: u64,
) -> Call {
    let rules = Rules {
        is_told: random.random_bool(0.9),
        hold: random.random_bool(0.7).then_some(PATIENCE),
        ..Rules::default()
    };
    let user: u32 = random.random_range(0..3);
    let info = match random.random_bool(0.1) {
        true => "1",
        false => r#"{"a":"b\nc"}"#,
    };
    let member = |user: u32| {
        Arc::new(Member {
            user_id: format!("user {user}").as_str().into(),
            user_info: info.into(),
        })
    };
    let count = held.entry((node, user)).or_default();
    match random.random_range(0..10) {
        0..4 => {
            *count += 1;
            Call::Join {
                member: Some(member(user)),
                members_max: 0,
                rules,
                wanted: match random.random_bool(0.5) {
                    true => Wanted::All,
                    false => Wanted::Nothing,
                },
                number,
            }
        }
        4..7 if *count > 0 => {
            *count -= 1;
            Call::Leave {
                user_id: Some(member(user).user_id.clone()),
                rules,
                number,
            }
        }
        7 => {
            let mut members = Vec::new();
            let mut subscriptions = 0;
            for user in 0..3 {
                let count = random.random_range(0..3);
                held.insert((node, user), count);
                if count > 0 {
                    members.push(Present {
                        member: member(user),
                        connections: count,
                        is_latest: random.random_bool(0.5),
                    });
                    subscriptions += count;
                }
            }
            let were_there = (0..4).filter(|_| random.random_bool(0.5)).map(member);
            let lost = Lost {
                members: were_there.collect(),
                ..Lost::default()
            };
            Call::Register {
                subscriptions,
                seen: 0,
                heard: (0, 0),
                life: 0,
                members,
                lost: random.random_bool(0.5).then_some(lost),
                rules,
                number,
            }
        }
        _ => Call::Publish {
            number: 1,
            is_late: random.random_bool(0.3),
            event: event("{}"),
        },
    }
}

#[tokio::test]
async fn the_scripts_on_a_real_redis_do_what_the_model_does() {
    let server = RedisServer::start();
    let mut real = Real::connect(&server).await;
    let mut model = Model::default();
    let mut random = SmallRng::seed_from_u64(5);
    let key = key();
    let topic = real.names(&key).topic;
    real.connection.subscribe(&topic).await.expect("subscribed");
    let mut held = HashMap::new();
    let mut lives: HashMap<usize, (u64, u64)> = HashMap::new();
    // where the real sequence of the channel as it is now is, seen from the model's
    let mut by = 0;
    for step in 0..3_000 {
        let at: usize = random.random_range(0..3);
        let node = format!("node{at}");
        let call = random_call(&mut random, &mut held, at, step);
        let was_empty = !model.channels.contains_key(&key);
        let origin = Arc::from(node.as_str());
        if random.random_bool(0.03) {
            // they come back empty; what nodes think that they have there is wrong from now on
            server.order_line("FLUSHALL");
            model.forget();
            held.clear();
        }
        let was_empty = was_empty || !model.channels.contains_key(&key);
        let (in_real, in_model) = lives.get(&at).copied().unwrap_or_default();
        let of_model = knowing(&call, in_model);
        let (expected, told): (Answer, Told) = model.call(&key, &node, &origin, &of_model);
        let found = real.call(&key, &node, &knowing(&call, in_real)).await;
        if let (Some(in_real), Some(in_model)) = (life(&found), life(&expected)) {
            lives.insert(at, (in_real, in_model));
        }
        if let (true, Some(real), Some(model)) = (was_empty, sequence(&found), sequence(&expected))
        {
            by = i128::from(real) - i128::from(model);
        }
        assert_eq!(
            moved(found, 0),
            moved(expected, by),
            "step {step}: {call:?}"
        );
        let mut expected = Vec::new();
        let mut found = Vec::new();
        for (sequence, what, number, _) in told {
            let (real_sequence, real_what, real_number) = real.told().await;
            assert_eq!(i128::from(real_sequence), i128::from(sequence) + by);
            expected.push((text(&what), number));
            found.push((text(&real_what), real_number));
        }
        // members that go together go in no order
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "step {step}: {call:?}");
        // somebody asks for some of the news, and tells some
        let written = model.news.get(&key).cloned().unwrap_or_default();
        if let Some((field, value)) = written.iter().nth(random.random_range(0..4)) {
            match field
                .strip_prefix('+')
                .and_then(|told| told.split_once('/'))
            {
                Some((name, word)) if random.random_bool(0.3) => {
                    let expected = model.claim(&key, word, name, "node0");
                    assert_eq!(real.claim(&key, word, name, "node0").await, expected);
                }
                Some(_) => {
                    model.forget_news(&key, field);
                    real.forget_news(&key, field).await;
                }
                None => {
                    // perhaps somebody else's
                    let name = if random.random_bool(0.5) {
                        value
                    } else {
                        "node1.0"
                    };
                    let expected = model.claim(&key, field, name, "node1");
                    assert_eq!(real.claim(&key, field, name, "node1").await, expected);
                }
            }
        }
        let written = model.news.get(&key).cloned().unwrap_or_default();
        assert_eq!(real.news(&key).await, written, "step {step}: {call:?}");
    }
}

//! The scripts on a real Redis, compared with the model that the simulation runs on. Needs `redis-server`.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use redis::{Pipeline, Value};
use tokio::sync::mpsc;

use super::{
    channel::{What, member_text, parse_member},
    connection::{Connection, Patience, Push, Servers},
    core::{Answer, Call, Event},
    keys::{ChannelKeys, Keys},
    model::{Redis as Model, Told},
    scripts::{Holding, Joined, Left, Member as ScriptMember, Published, Registered, Scripts},
    wire::{Kind, Message, event_head},
};
use crate::{
    frame::Frame,
    hub::inbox::ChannelKey,
    protocol::{channel::ChannelName, presence::Member},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server of one's own, killed when dropped.
struct RedisServer {
    process: Child,
    address: SocketAddr,
}

impl RedisServer {
    fn start() -> RedisServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        drop(listener);
        let port = address.port().to_string();
        let process = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server, of Debian's package of that name");
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "redis-server doesn't listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        RedisServer { process, address }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the scripts answer to the same calls, and what they tell whoever listens.
struct Real {
    connection: Connection,
    pushes: mpsc::Receiver<Push>,
    scripts: Scripts,
    keys: Keys,
}

impl Real {
    async fn connect(server: &RedisServer) -> Real {
        let (sender, pushes) = mpsc::channel(1024);
        let scripts = Scripts::new(false);
        let servers = Servers::One(format!("redis://{}", server.address));
        let patience = Patience {
            connect: PATIENCE,
            answer: PATIENCE,
        };
        let connection = Connection::open(&servers, patience, sender, &scripts).await;
        Real {
            connection: connection.expect("a connection"),
            pushes,
            scripts,
            keys: Keys::new("test"),
        }
    }

    fn names(&self, key: &ChannelKey) -> ChannelKeys {
        self.keys.channel("7", &key.name)
    }

    async fn call(&mut self, key: &ChannelKey, node: &str, call: &Call) -> Answer {
        let names = self.names(key);
        let mut pipe = Pipeline::new();
        add(&self.scripts, &mut pipe, &names, node, call);
        let mut answers = self.connection.call(&mut pipe).await.expect("answers");
        let value = answers
            .remove(0)
            .unwrap_or_else(|error| panic!("{call:?}: {error}"));
        answer(call, &value)
    }

    /// The next message of the topic.
    async fn told(&mut self) -> (u64, What, u64) {
        let push = tokio::time::timeout(PATIENCE, self.pushes.recv()).await;
        match push.expect("a message").expect("a connection") {
            Push::Message { text, .. } => {
                let message = Message::parse(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
                understood(&message)
            }
            Push::Lost => panic!("the connection is lost"),
        }
    }
}

fn add(scripts: &Scripts, pipe: &mut Pipeline, names: &ChannelKeys, node: &str, call: &Call) {
    match call {
        Call::Join {
            member,
            members_max,
            tell_count,
            list,
        } => {
            let text = member.as_deref().map(member_text);
            let member = member.as_deref().zip(text.as_deref());
            let member = member.map(|(member, text)| ScriptMember {
                user_id: &member.user_id,
                text,
            });
            scripts.join(pipe, names, node, member, *members_max, *tell_count, *list);
        }
        Call::Leave {
            user_id,
            tell_count,
        } => scripts.leave(pipe, names, node, user_id.as_deref(), *tell_count),
        Call::Publish { number, event } => {
            let head = event_head(node, *number, event.except);
            scripts.publish(pipe, names, &head, &event.text(), None);
        }
        Call::Register {
            subscriptions,
            seen,
            members,
            tell_count,
        } => {
            let texts: Vec<String> = members.iter().map(|(m, _)| member_text(m)).collect();
            let members: Vec<(ScriptMember<'_>, u32)> = members
                .iter()
                .zip(&texts)
                .map(|((member, count), text)| {
                    let member = ScriptMember {
                        user_id: &member.user_id,
                        text,
                    };
                    (member, *count)
                })
                .collect();
            let holding = Holding {
                subscriptions: *subscriptions,
                seen: *seen,
                members: &members,
            };
            scripts.register(pipe, names, node, holding, *tell_count);
        }
    }
}

fn answer(call: &Call, value: &Value) -> Answer {
    match call {
        Call::Join { .. } => Answer::Joined(Joined::from_value(value).expect("joined")),
        Call::Leave { .. } => Answer::Left(Left::from_value(value).expect("left")),
        Call::Publish { .. } => Answer::Published(Published::from_value(value).expect("published")),
        Call::Register { .. } => {
            Answer::Registered(Registered::from_value(value).expect("registered"))
        }
    }
}

fn understood(message: &Message<'_>) -> (u64, What, u64) {
    let (what, number) = match &message.kind {
        Kind::Event {
            number,
            except,
            frame,
        } => {
            let event = Event {
                frame: Frame::text(frame),
                except: *except,
                kept: None,
            };
            (What::Event(Arc::new(event)), *number)
        }
        Kind::MemberAdded(text) => (What::MemberAdded(parse_member(text).expect("a member")), 0),
        Kind::MemberRemoved(id) => (What::MemberRemoved((*id).into()), 0),
        Kind::Count(count) => (What::Count(*count), 0),
        Kind::Nothing => (What::Nothing, 0),
    };
    (message.sequence, what, number)
}

/// Sequences begin with the time: those of the model are moved to where the real ones are.
fn moved(answer: Answer, by: i128) -> Answer {
    let shift = |sequence: u64| u64::try_from(i128::from(sequence) + by).expect("a sequence");
    match answer {
        Answer::Joined(Joined::Yes {
            sequence,
            subscriptions,
            is_new_member,
            mut members,
        }) => {
            members.sort();
            Answer::Joined(Joined::Yes {
                sequence: shift(sequence),
                subscriptions,
                is_new_member,
                members,
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
            registered.came.sort();
            registered.went.sort();
            // the model doesn't count what it never sends
            registered.missed = 0;
            Answer::Registered(Registered {
                sequence: registered.sequence.map(shift),
                ..registered
            })
        }
    }
}

fn sequence(answer: &Answer) -> Option<u64> {
    match answer {
        Answer::Joined(Joined::Yes { sequence, .. }) => Some(*sequence),
        Answer::Joined(Joined::Full) => None,
        Answer::Left(left) => left.sequence,
        Answer::Published(published) => published.sequence,
        Answer::Registered(registered) => registered.sequence,
    }
}

fn key() -> ChannelKey {
    ChannelKey {
        app: 0,
        name: ChannelName::parse("presence-room", 200).expect("a name"),
    }
}

fn random_call(random: &mut SmallRng, held: &mut HashMap<(usize, u32), u32>, node: usize) -> Call {
    let user: u32 = random.random_range(0..3);
    let member = |user: u32| {
        Arc::new(Member {
            user_id: format!("user {user}").as_str().into(),
            user_info: r#"{"a":"b\nc"}"#.into(),
        })
    };
    let count = held.entry((node, user)).or_default();
    match random.random_range(0..10) {
        0..4 => {
            *count += 1;
            Call::Join {
                member: Some(member(user)),
                members_max: 0,
                tell_count: false,
                list: random.random_bool(0.5),
            }
        }
        4..7 if *count > 0 => {
            *count -= 1;
            Call::Leave {
                user_id: Some(member(user).user_id.clone()),
                tell_count: false,
            }
        }
        7 => {
            let mut members = Vec::new();
            let mut subscriptions = 0;
            for user in 0..3 {
                let count = random.random_range(0..3);
                held.insert((node, user), count);
                if count > 0 {
                    members.push((member(user), count));
                    subscriptions += count;
                }
            }
            Call::Register {
                subscriptions,
                seen: 0,
                members,
                tell_count: false,
            }
        }
        _ => Call::Publish {
            number: 1,
            event: Arc::new(Event {
                frame: Frame::text("{}"),
                except: None,
                kept: None,
            }),
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
    // where the real sequence of the channel as it is now is, seen from the model's
    let mut by = 0;
    for step in 0..3_000 {
        let at: usize = random.random_range(0..3);
        let node = format!("node{at}");
        let call = random_call(&mut random, &mut held, at);
        let was_empty = !model.channels.contains_key(&key);
        let (expected, told): (Answer, Told) = model.call(&key, &node, &call);
        let found = real.call(&key, &node, &call).await;
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
        for (sequence, what, number) in told {
            let (real_sequence, real_what, real_number) = real.told().await;
            assert_eq!(i128::from(real_sequence), i128::from(sequence) + by);
            expected.push((format!("{what:?}"), number));
            found.push((format!("{real_what:?}"), real_number));
        }
        // members that go together go in no order
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "step {step}: {call:?}");
    }
}

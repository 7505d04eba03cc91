//! A cluster for the tests of those who ask it: what they ask is seen here, and answered when the test says so.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::{
    cluster::{
        driver::Request,
        handle::{Asker, Cluster, Place, Reply, Waiter, Welcome},
        rules::Rulebook,
        status::Status,
        terms::Ask,
    },
    config,
    frame::Frame,
    hub::inbox::{Admission, ChannelKey, Command, Letter, Position},
    protocol::codes::SubscribeError,
    webhook::Webhooks,
};

/// See the module's documentation.
pub(crate) struct Fake(mpsc::UnboundedReceiver<Request<Waiter>>);

/// What was asked.
pub(crate) struct Asked {
    /// such as `join a`
    pub(crate) what: String,
    answer: Option<Answer>,
}

struct Answer {
    asker: Asker,
    channels: Vec<ChannelKey>,
    frames: Vec<Frame>,
    reply: Reply,
}

impl Fake {
    pub(crate) fn new(publishes_max: usize) -> (Cluster, Fake) {
        let (requests, receiver) = mpsc::unbounded_channel();
        let settings = config::from_toml("").expect("defaults");
        let rulebook = Rulebook {
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            webhooks: Webhooks::default(),
        };
        let status = Arc::new(Status::default());
        let cluster = Cluster::new(requests, publishes_max, status, rulebook);
        (cluster, Fake(receiver))
    }

    /// What was asked since the last look. A watchlist is one question, after the joins that it consists of.
    pub(crate) fn asked(&mut self) -> Vec<Asked> {
        let mut asked = Vec::new();
        while let Ok(request) = self.0.try_recv() {
            asked.extend(understood(request));
        }
        asked
    }
}

fn understood(request: Request<Waiter>) -> Option<Asked> {
    let (what, waiter) = match request {
        Request::Ask {
            channel,
            ask,
            waiter,
            ..
        } => {
            let name = channel.name.as_str();
            let what = match ask {
                Ask::Join { member: None, .. } => format!("join {name}"),
                Ask::Join {
                    member: Some(member),
                    ..
                } => format!("join {name} as {}", member.user_id),
                Ask::Leave { user_id: None, .. } => format!("leave {name}"),
                Ask::Leave {
                    user_id: Some(user_id),
                    ..
                } => format!("leave {name} as {user_id}"),
                Ask::Publish { .. } => format!("publish {name}"),
                Ask::Online(..) | Ask::Count | Ask::Settle => return None,
            };
            (what, waiter)
        }
        Request::Look(waiter) => (String::new(), Some(waiter)),
        Request::Query { .. } | Request::Stop(_) => return None,
    };
    let (what, answer) = match waiter {
        Some(Waiter::Join(joining)) => {
            let frames = match joining.welcome {
                Welcome::Subscribed => Vec::new(),
                Welcome::Frame(frame) => vec![frame],
            };
            let answer = Answer {
                asker: joining.asker,
                channels: vec![joining.place.channel().clone()],
                frames,
                reply: Reply::Joined(joining.place),
            };
            (what, Some(answer))
        }
        Some(Waiter::Look(looking)) => {
            let answer = Answer {
                asker: looking.asker,
                channels: Vec::new(),
                frames: Vec::new(),
                reply: Reply::Looked,
            };
            (
                format!("look {}", looking.channel.name.as_str()),
                Some(answer),
            )
        }
        Some(Waiter::Watch(watching)) => {
            if !watching.is_answered() {
                return None;
            }
            let places = watching.channels.iter();
            let places = places.map(|channel| Place::watching(&watching, channel));
            let answer = Answer {
                asker: watching.asker,
                reply: Reply::Watching(places.collect()),
                frames: Vec::new(),
                channels: watching.channels.clone(),
            };
            (format!("watch {}", answer.channels.len()), Some(answer))
        }
        Some(Waiter::Publish { .. }) | None => (what, None),
    };
    Some(Asked { what, answer })
}

impl Asked {
    /// The answer, with these frames for the socket.
    pub(crate) fn granted(self, frames: &[&str]) -> Command {
        let Answer {
            asker,
            channels,
            frames: mut all,
            reply,
        } = self.answer.expect("a question");
        all.extend(frames.iter().map(|text| Frame::text(text)));
        let since = |channel| (channel, Position(0));
        admit(asker, channels.into_iter().map(since).collect(), all, reply)
    }

    pub(crate) fn refused(self, error: SubscribeError) -> Command {
        let answer = self.answer.expect("a question");
        let Reply::Joined(place) = answer.reply else {
            panic!("only a join is refused");
        };
        let (_, channel) = place.forget();
        let reply = Reply::Refused(channel.name, error);
        admit(answer.asker, Vec::new(), Vec::new(), reply)
    }
}

fn admit(
    asker: Asker,
    channels: Vec<(ChannelKey, Position)>,
    frames: Vec<Frame>,
    reply: Reply,
) -> Command {
    Command::Admit(Box::new(Admission {
        socket: asker.socket,
        socket_id: asker.socket_id,
        channels,
        frames,
        letter: Letter(Box::new(reply)),
    }))
}

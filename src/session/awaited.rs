//! What a connection has asked the cluster for and isn't answered yet. Several subscriptions may be on their way; whatever depends
//! on how they end waits, and the client's later messages with it, so that they keep their order. Without a cluster nothing is
//! ever awaited.

use super::{Session, signin, subscribe};
use crate::{
    cluster::{Asker, Place, Reply},
    hub::inbox::Letter,
    protocol::{
        channel::{ChannelKind, ChannelName},
        client::{ChannelData, ClientMessage, SubscribeRequest},
        codes::{ClientError, SubscribeError},
        user::User,
    },
};

/// Answers a connection may wait for at a time. Over it no more messages are taken: pusher-js subscribes to all its channels at
/// once, but seldom to more than these.
pub const AWAITED_MAX: usize = 64;

/// See the module's documentation. There is one only while something is awaited.
#[derive(Default)]
pub struct Awaited {
    /// the channels of subscriptions
    joins: Vec<ChannelName>,
    /// repeated subscriptions
    looks: usize,
    signin: Option<User>,
    /// who of a watchlist is there
    is_watch_awaited: bool,
    /// the message that waits until there is nothing else
    deferred: Option<String>,
    /// by when the connection must show who it is, if what it has signed is refused (C-36)
    authorize_by_s: Option<u32>,
}

impl Awaited {
    fn len(&self) -> usize {
        let others = usize::from(self.signin.is_some()) + usize::from(self.is_watch_awaited);
        self.joins.len() + self.looks + others
    }

    pub fn takes_more(&self) -> bool {
        self.deferred.is_none() && self.len() < AWAITED_MAX
    }

    /// Whether what the message leads to depends on what is awaited.
    fn concerns(&self, message: &ClientMessage<'_>) -> bool {
        match message {
            ClientMessage::Ping | ClientMessage::Pong => false,
            ClientMessage::Subscribe(request) => {
                let is_known = |channel: &ChannelName| channel.as_str() == request.channel;
                self.joins.iter().any(is_known)
                    || (self.signin.is_some() && depends_on_user(request))
            }
            ClientMessage::Unsubscribe { .. }
            | ClientMessage::ClientEvent(_)
            | ClientMessage::Signin(_) => true,
        }
    }

    /// Whether something is awaited by which the connection shows who it is.
    fn has_signed(&self) -> bool {
        let mut joins = self.joins.iter();
        self.signin.is_some() || joins.any(|channel| channel.kind().needs_auth())
    }

    /// Takes a channel out; `false` if no subscription to it is awaited.
    fn take_join(&mut self, channel: &ChannelName) -> bool {
        let at = self.joins.iter().position(|awaited| awaited == channel);
        at.map(|at| self.joins.swap_remove(at)).is_some()
    }
}

/// Whether a subscription is allowed, or who it is for, is a matter of who is signed in.
fn depends_on_user(request: &SubscribeRequest<'_>) -> bool {
    let kind = ChannelKind::of(&request.channel);
    kind == ChannelKind::ServerToUser
        || (kind.is_presence() && request.channel_data == ChannelData::Absent)
}

impl Session {
    pub(super) fn asker(&self) -> Asker {
        Asker {
            worker: self.hub.worker(),
            socket: self.key,
            socket_id: self.link.socket_id(),
        }
    }

    fn awaited(&mut self) -> &mut Awaited {
        self.awaited.get_or_insert_default()
    }

    pub(super) fn await_join(&mut self, channel: ChannelName) {
        self.awaited().joins.push(channel);
    }

    /// It has shown who it is, unless that is refused; how long the cluster takes isn't its fault.
    pub(super) fn suspend_authorization(&mut self) {
        if let Some(by_s) = self.link.suspend_authorization() {
            self.awaited().authorize_by_s = Some(by_s);
        }
    }

    /// It has shown who it is.
    pub(super) fn authorized(&mut self) {
        self.link.require_authorization(None);
        if let Some(awaited) = &mut self.awaited {
            awaited.authorize_by_s = None;
        }
    }

    pub(super) fn await_look(&mut self) {
        self.awaited().looks += 1;
    }

    pub(super) fn await_signin(&mut self, user: User) {
        self.awaited().signin = Some(user);
    }

    pub(super) fn await_watch(&mut self) {
        self.awaited().is_watch_awaited = true;
    }

    /// Subscriptions on their way: they count towards the limits as if they were there.
    pub(super) fn joins_awaited(&self) -> usize {
        self.awaited.as_ref().map_or(0, |all| all.joins.len())
    }

    /// Keeps a message for later if it has to wait; `false` if it hasn't.
    pub(super) fn defer(&mut self, message: &ClientMessage<'_>, text: &str) -> bool {
        let Some(awaited) = &mut self.awaited else {
            return false;
        };
        if !awaited.concerns(message) {
            return false;
        }
        awaited.deferred = Some(text.to_owned());
        true
    }
}

/// Takes an answer of the cluster. After the last one the message that has waited for it has its turn.
pub fn take(session: &mut Session, letter: Letter) {
    let Some(reply) = read(letter) else {
        return;
    };
    match reply {
        Reply::Joined(place) => joined(session, place),
        Reply::Refused(channel, error) => refused(session, &channel, &error),
        Reply::Looked => {
            let awaited = session.awaited();
            awaited.looks = awaited.looks.saturating_sub(1);
        }
        Reply::Watching(places) => {
            session.awaited().is_watch_awaited = false;
            signin::watching(session, places);
        }
    }
    if session.awaited.as_ref().is_some_and(|all| all.len() == 0)
        && let Some(text) = session.awaited.take().and_then(|all| all.deferred)
    {
        session.resume(&text);
    }
}

fn read(letter: Letter) -> Option<Reply> {
    letter.0.downcast::<Reply>().ok().map(|reply| *reply)
}

fn joined(session: &mut Session, place: Place) {
    let awaited = session.awaited();
    if awaited.take_join(&place.channel().name) {
        subscribe::joined(session, place);
    } else if let Some(user) = awaited.signin.take() {
        place.keep();
        signin::signed_in(session, user, Vec::new());
    } else {
        give_back(session, place);
    }
}

fn refused(session: &mut Session, channel: &ChannelName, error: &SubscribeError) {
    let awaited = session.awaited();
    if awaited.take_join(channel) {
        subscribe::refuse(session, channel.as_str(), error);
    } else if awaited.signin.take().is_some() {
        // No limit holds for users' channels.
        session.answer(Err(ClientError::Congested));
    }
    if let Some(awaited) = &mut session.awaited
        && !awaited.has_signed()
        && let Some(by_s) = awaited.authorize_by_s.take()
    {
        session.link.resume_authorization(by_s);
    }
}

/// Ends what was begun for a connection that is over. What isn't answered yet will be given back by the hub.
pub fn end(session: &mut Session) {
    let Some(mut awaited) = session.awaited.take() else {
        return;
    };
    for letter in session.hub.take_letters(session.key) {
        match read(letter) {
            // The client may have been told: it came, and it goes with the others.
            Some(Reply::Joined(place)) if awaited.take_join(&place.channel().name) => {
                subscribe::joined(session, place);
            }
            Some(Reply::Joined(place)) => give_back(session, place),
            Some(Reply::Watching(places)) => {
                places
                    .into_iter()
                    .for_each(|place| give_back(session, place));
            }
            Some(Reply::Refused(..) | Reply::Looked) | None => {}
        }
    }
}

/// Dropped, a place is left.
fn give_back(session: &Session, place: Place) {
    session.hub.unsubscribe(place.channel(), session.key);
}

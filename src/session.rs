//! Session: one connection's protocol state, and what its client's messages lead to. Knows nothing of the transport.

mod awaited;
mod client_event;
mod rate;
mod signin;
mod subscribe;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::{
    cell::Cell,
    fmt::Display,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    time::Instant,
};

use self::{awaited::Awaited, rate::Allowance, signin::SignedIn, subscriptions::Subscriptions};
use crate::{
    apps::App,
    cluster::Cluster,
    frame::{Frame, FrameError},
    gate::log_refusal,
    hub::{
        Hub, SocketKey,
        inbox::{ChannelKey, Letter},
        link::{End, Link, Phase},
    },
    metrics::kind_index,
    node::Node,
    observe::Socket,
    peer::Client,
    protocol::{
        channel::ChannelName,
        client::ClientMessage,
        codes::{ClientError, CloseReason},
        server,
    },
    socket::Conversation,
};

/// See the module's documentation. Dropping it leaves every channel (C-37).
pub struct Session {
    node: Arc<Node>,
    hub: Rc<Hub>,
    link: Rc<Link>,
    key: SocketKey,
    app: Arc<App>,
    /// whose connection it is
    client: Client,
    /// the version of the settings that `app` is of; 0 = of some version, looked up with the first message
    version: u64,
    subscriptions: Subscriptions,
    signed_in: Option<Box<SignedIn>>,
    /// `None`: nothing is on its way
    awaited: Option<Box<Awaited>>,
    /// when a refusal was logged last, in seconds of the hub's clock
    refusal_logged_s: Cell<Option<u32>>,
    messages: Allowance,
    client_events: Allowance,
}

impl Session {
    /// Opens the conversation with `pusher:connection_established`, before anything else (C-11).
    pub fn open(
        node: Arc<Node>,
        hub: Rc<Hub>,
        link: Rc<Link>,
        key: SocketKey,
        app: Arc<App>,
        client: Client,
    ) -> Session {
        link.push(&server::connection_established(
            link.socket_id(),
            app.activity_timeout_s,
        ));
        link.require_authorization(app.users.authorization_timeout_s);
        Session {
            messages: Allowance::default(),
            client_events: Allowance::default(),
            node,
            hub,
            link,
            key,
            app,
            client,
            version: 0,
            subscriptions: Subscriptions::default(),
            signed_in: None,
            awaited: None,
            refusal_logged_s: Cell::new(None),
        }
    }

    /// The connection, for those who tell of it.
    fn socket(&self) -> Socket<'_> {
        Socket {
            app: &self.app.id,
            id: self.link.socket_id(),
        }
    }

    /// A channel came into being by this connection.
    fn count_occupied(&self, channel: &ChannelName) {
        self.link.metrics().occupied[kind_index(channel.kind())].add(1);
    }

    /// A channel ceased with this connection's leaving.
    fn count_vacated(&self, channel: &ChannelName) {
        self.link.metrics().vacated[kind_index(channel.kind())].add(1);
    }

    fn send(&self, frame: &Frame) {
        self.link.push(frame);
    }

    /// Takes the connection off a channel, in the hub first: nothing more of it may arrive (S-19).
    fn leave(&self, channel: &ChannelName, user_id: Option<&Arc<str>>) {
        let key = self.channel_key(channel);
        self.hub.unsubscribe(&key, self.key);
        let worker = self.hub.worker();
        if let Some(cluster) = self.node.cluster() {
            cluster.leave(&self.app, &key, worker, user_id.cloned());
            return;
        }
        let directory = self.node.directory();
        let user_id = user_id.map(|id| &**id);
        if directory.leave(&self.app, &key, worker, user_id, Instant::now()) {
            self.count_vacated(channel);
        }
    }

    fn channel_key(&self, channel: &ChannelName) -> ChannelKey {
        ChannelKey {
            app: self.app.index,
            name: channel.clone(),
        }
    }

    /// One message, from its text to its effects.
    fn handle(&mut self, text: &str) -> Result<(), ClientError> {
        self.look_for_reload();
        if self.link.phase() != Phase::Open {
            return Ok(());
        }
        self.count_message()?;
        self.obey(text)
    }

    /// Goes on with a message that has waited. It is counted already.
    fn resume(&mut self, text: &str) {
        self.look_for_reload();
        if self.link.phase() == Phase::Open {
            let result = self.obey(text);
            self.answer(result);
        }
    }

    fn obey(&mut self, text: &str) -> Result<(), ClientError> {
        let message = ClientMessage::parse(text)?;
        if self.defer(&message, text) {
            return Ok(());
        }
        match message {
            ClientMessage::Subscribe(request) => subscribe::subscribe(self, &request),
            ClientMessage::Unsubscribe { channel } => {
                subscribe::unsubscribe(self, &channel);
                Ok(())
            }
            ClientMessage::ClientEvent(event) => client_event::publish(self, &event),
            ClientMessage::Signin(request) => signin::signin(self, &request),
            ClientMessage::Ping => {
                self.send(&server::pong());
                Ok(())
            }
            ClientMessage::Pong => Ok(()),
        }
    }

    /// Goes by the settings of now. The hub closes the sockets of an app that is gone, but may have missed one that was
    /// just being opened.
    fn look_for_reload(&mut self) {
        let version = self.node.version();
        if version == self.version {
            return;
        }
        self.version = version;
        match self.node.apps().by_id(&self.app.id) {
            Some(app) if app.enabled => self.app = app.clone(),
            Some(_) => self.link.close(CloseReason::AppDisabled),
            None => self.link.close(CloseReason::AppDoesNotExist),
        }
    }

    /// Reverb's rate limit: every message counts, whatever it is.
    fn count_message(&self) -> Result<(), ClientError> {
        let Some(limit) = self.app.limits.message_rate else {
            return Ok(());
        };
        let period = Duration::from_secs(u64::from(limit.decay_s));
        if self.messages.take(limit.max_attempts, period) {
            return Ok(());
        }
        if limit.terminate {
            self.link.close(CloseReason::RateLimited);
        }
        Err(ClientError::RateLimited)
    }

    /// Says why something was refused, at info once a second at most, for this connection and for its address: a client
    /// must not be able to flood the log. A wrong signature is counted; `true` after too many of them from the address:
    /// the connection is to be closed.
    fn note_refusal(&self, what: &str, reason: &dyn Display, is_wrong_signature: bool) -> bool {
        let gate = self.node.gate();
        let limits = self.node.settings().limits;
        let is_over = is_wrong_signature && gate.auth_failed(self.client, &limits).is_err();
        let end = match is_over {
            true => {
                ", and too many wrong signatures came from this address: closing (limits.auth_failures_per_min_per_address)"
            }
            false => "",
        };
        let now_s = Some(self.hub.now_s());
        let is_first = self.refusal_logged_s.replace(now_s) != now_s;
        log_refusal!(
            is_first && gate.may_log(self.client, &limits),
            app = self.app.id,
            socket_id = %self.link.socket_id(),
            peer = %self.client,
            "refused {what}: {reason}{end}"
        );
        is_over
    }

    /// Says why the connection was given up. One whose client is gone is as common as a phone that loses its network: no line at
    /// info.
    fn note_eviction(&self, end: End, why: &str) {
        let is_common = end == End::Server(CloseReason::PongTimeout);
        log_refusal!(
            !is_common && self.hub.may_log_eviction(),
            app = self.app.id,
            socket_id = %self.link.socket_id(),
            peer = %self.client,
            "gave up a connection: its client {why}"
        );
        self.node.observe().evicted(self.socket(), end);
    }

    fn is_awaiting_too_much(&self) -> bool {
        let awaited = self.awaited.as_ref();
        awaited.is_some_and(|awaited| !awaited.takes_more())
    }

    fn is_cluster_congested(&self) -> bool {
        self.node.cluster().is_some_and(Cluster::is_congested)
    }

    fn answer(&mut self, result: Result<(), ClientError>) {
        let Err(error) = result else {
            return;
        };
        let is_over = self.note_refusal("a message", &error.log_text(), error.is_wrong_signature());
        self.node.observe().refused_message(self.socket(), &error);
        // A connection that was just closed has had its last word.
        if self.link.phase() == Phase::Open {
            self.send(&server::error(&error));
        }
        if is_over {
            self.link.close(CloseReason::TooManyAuthFailures);
        }
    }
}

impl Conversation for Session {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_awaiting_too_much() {
            // The letter with the answer wakes.
            return Poll::Pending;
        }
        if self.is_cluster_congested() || self.node.directory().is_congested() {
            self.hub.park(cx.waker());
            return Poll::Pending;
        }
        self.hub.unpark();
        Poll::Ready(())
    }

    fn takes_more(&self) -> bool {
        !self.is_awaiting_too_much() && !self.is_cluster_congested()
    }

    fn letter(&mut self, letter: Letter) {
        awaited::take(self, letter);
    }

    fn text(&mut self, text: &str) {
        let result = self.handle(text);
        self.answer(result);
    }

    /// A binary frame that holds UTF-8 is taken like text (C-24).
    fn binary(&mut self, bytes: &[u8]) {
        let result = match std::str::from_utf8(bytes) {
            Ok(text) => self.handle(text),
            Err(_) => Err(ClientError::InvalidJson),
        };
        self.answer(result);
    }

    fn violated(&mut self, error: &FrameError) {
        let reason = format_args!("{} (code {})", error.reason, error.code);
        self.note_refusal("frames that break the WebSocket protocol", &reason, false);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let end = self.link.end();
        if let Some(why) = end.eviction() {
            self.note_eviction(end, why);
        }
        awaited::end(self);
        signin::sign_out(self);
        subscribe::leave_all(self);
        tracing::debug!(app = self.app.id, socket_id = %self.link.socket_id(), "disconnected");
    }
}

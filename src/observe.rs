//! What becomes known of what happens: one function for each thing worth telling, which counts it and tells the live
//! stream. Whoever does something calls it once, beside the line for the log.

use std::{borrow::Cow, sync::Arc, time::Duration};

use crate::{
    hub::link::End,
    live::{Event, Kind, Live, shown_data},
    metrics::{Metrics, Refused},
    peer::Client,
    protocol::{
        channel::ChannelName,
        codes::{ClientError, CloseReason, SubscribeError},
        event::EventData,
        socket_id::SocketId,
    },
};

/// The handle to count and tell with.
pub struct Observer {
    pub metrics: Arc<Metrics>,
    pub live: Arc<Live>,
}

/// The connection that something happens to.
#[derive(Clone, Copy)]
pub struct Socket<'a> {
    pub app: &'a str,
    pub id: SocketId,
}

impl Socket<'_> {
    fn event(&self, kind: Kind) -> Event {
        Event {
            app: Some(self.app.to_owned()),
            socket_id: Some(self.id.to_string()),
            ..Event::new(kind)
        }
    }
}

/// Who asks for a connection.
pub struct Caller<'a> {
    pub client: Client,
    pub path: &'a str,
    pub origin: Option<&'a str>,
}

impl Caller<'_> {
    fn event(&self) -> Event {
        Event {
            path: Some(cut(self.path)),
            origin: self.origin.map(cut),
            peer: Some(self.client.to_string()),
            ..Event::new(Kind::Refused)
        }
    }
}

/// A refused request of the HTTP API.
pub struct RefusedRequest<'a> {
    pub app: Option<&'a str>,
    pub path: &'a str,
    pub peer: Client,
    pub status: u16,
    pub reason: &'static str,
    pub message: &'a str,
    pub request_id: &'a str,
}

impl Observer {
    pub fn new(metrics: Arc<Metrics>, live: Live) -> Observer {
        Observer {
            metrics,
            live: Arc::new(live),
        }
    }

    pub fn connected(&self, socket: Socket<'_>, caller: &Caller<'_>) {
        self.live.tell(|| Event {
            origin: caller.origin.map(cut),
            peer: Some(caller.client.to_string()),
            ..socket.event(Kind::Connected)
        });
    }

    /// The server gives a connection up.
    pub fn evicted(&self, socket: Socket<'_>, end: End) {
        self.live.tell(|| Event {
            reason: Some(end.reason()),
            code: end.code(),
            ..socket.event(Kind::Evicted)
        });
    }

    pub fn disconnected(&self, socket: Socket<'_>, end: End, stood: Duration) {
        self.metrics.count_closed(socket.app, end.reason());
        self.live.tell(|| Event {
            reason: Some(end.reason()),
            code: end.code(),
            duration_ms: Some(u64::try_from(stood.as_millis()).unwrap_or(u64::MAX)),
            ..socket.event(Kind::Disconnected)
        });
    }

    pub fn subscribed(&self, socket: Socket<'_>, channel: &ChannelName, user_id: Option<&str>) {
        self.live.tell(|| Event {
            channel: Some(channel.to_string()),
            user_id: user_id.map(str::to_owned),
            ..socket.event(Kind::Subscribed)
        });
    }

    pub fn unsubscribed(&self, socket: Socket<'_>, channel: &ChannelName, user_id: Option<&str>) {
        self.live.tell(|| Event {
            channel: Some(channel.to_string()),
            user_id: user_id.map(str::to_owned),
            ..socket.event(Kind::Unsubscribed)
        });
    }

    /// A connection that ended before it had a request: not TLS, not HTTP, too slow.
    pub fn refused_transport(&self, client: Client, reason: &'static str, message: &str) {
        self.metrics.count_refusal(Refused::Transport, reason);
        self.live.tell(|| Event {
            peer: Some(client.to_string()),
            what: Some(Refused::Transport.name()),
            reason: Some(reason),
            message: Some(Cow::Owned(message.to_owned())),
            ..Event::new(Kind::Refused)
        });
    }

    /// A handshake that is answered over HTTP.
    pub fn refused_handshake(
        &self,
        caller: &Caller<'_>,
        status: u16,
        reason: &'static str,
        message: &'static str,
    ) {
        self.metrics.count_refusal(Refused::Handshake, reason);
        self.live.tell(|| Event {
            what: Some(Refused::Handshake.name()),
            reason: Some(reason),
            message: Some(message.into()),
            code: Some(status),
            ..caller.event()
        });
    }

    /// A connection that is told why over the WebSocket.
    pub fn refused_connection(&self, caller: &Caller<'_>, app: Option<&str>, reason: CloseReason) {
        self.metrics
            .count_refusal(Refused::Connection, reason.name());
        self.live.tell(|| Event {
            app: app.map(str::to_owned),
            what: Some(Refused::Connection.name()),
            reason: Some(reason.name()),
            message: Some(reason.message().into()),
            code: Some(reason.code()),
            ..caller.event()
        });
    }

    pub fn refused_subscription(&self, socket: Socket<'_>, channel: &str, error: &SubscribeError) {
        self.metrics
            .count_refusal(Refused::Subscription, error.name());
        self.live.tell(|| Event {
            channel: Some(cut(channel)),
            what: Some(Refused::Subscription.name()),
            reason: Some(error.name()),
            message: Some(error.log_text(channel).into()),
            code: Some(error.status()),
            ..socket.event(Kind::Refused)
        });
    }

    pub fn refused_message(&self, socket: Socket<'_>, error: &ClientError) {
        self.metrics.count_refusal(Refused::Message, error.name());
        self.live.tell(|| Event {
            what: Some(Refused::Message.name()),
            reason: Some(error.name()),
            message: Some(error.log_text().into()),
            code: error.code(),
            ..socket.event(Kind::Refused)
        });
    }

    pub fn refused_request(&self, request: &RefusedRequest<'_>) {
        self.metrics.count_refusal(Refused::Request, request.reason);
        self.live.tell(|| Event {
            app: request.app.map(cut),
            path: Some(cut(request.path)),
            peer: Some(request.peer.to_string()),
            what: Some(Refused::Request.name()),
            reason: Some(request.reason),
            message: Some(Cow::Owned(request.message.to_owned())),
            code: Some(request.status),
            request_id: Some(request.request_id.to_owned()),
            ..Event::new(Kind::Refused)
        });
    }

    /// An event that was published over the HTTP API.
    pub fn published(&self, app: &str, channel: &ChannelName, name: &str, data: &EventData<'_>) {
        self.metrics.count_published(app);
        self.live.tell(|| Event {
            app: Some(app.to_owned()),
            ..self.told(Event::new(Kind::Published), channel, name, data)
        });
    }

    /// An event that a client sent to others. Counting it is the socket's business.
    pub fn client_event(
        &self,
        socket: Socket<'_>,
        channel: &ChannelName,
        name: &str,
        data: &EventData<'_>,
    ) {
        self.live.tell(|| {
            let event = socket.event(Kind::ClientEvent);
            self.told(event, channel, name, data)
        });
    }

    fn told(&self, event: Event, channel: &ChannelName, name: &str, data: &EventData<'_>) -> Event {
        Event {
            channel: Some(channel.to_string()),
            event: Some(name.to_owned()),
            bytes: Some(data.len_bytes()),
            data: self.live.wants_data().then(|| shown_data(data.as_json())),
            ..event
        }
    }
}

/// What a client sent of its own choice, cut to a length that does no harm.
fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

//! The handle of this node's part in a cluster, for sessions and for the node. What is asked is put into one queue, in order; sockets
//! are answered through their hub, everybody else by a future.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    driver::Request,
    queries::{Found, Query, Question},
    rules::{Rulebook, Rules},
    status::Status,
    terms::{Ask, Body, Event, Ticket},
};
use crate::{
    apps::App,
    directory::{Cached, Occupancy, Publication},
    frame::Frame,
    hub::{
        SocketKey,
        inbox::{ChannelKey, WorkerId},
    },
    protocol::{
        channel::ChannelName, codes::SubscribeError, presence::Member, socket_id::SocketId,
    },
};

/// Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    requests: mpsc::UnboundedSender<Request<Waiter>>,
    /// events on their way
    room: Arc<Semaphore>,
    status: Arc<Status>,
    rulebook: Rulebook,
}

/// A connection that asks for something.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    pub worker: WorkerId,
    pub socket: SocketKey,
    pub socket_id: SocketId,
}

/// What a connection is told on a channel before anything else.
#[derive(Clone, Debug)]
pub enum Welcome {
    /// that it is subscribed, with members and the cached event of the kinds that have them (S-13)
    Subscribed,
    /// this
    Frame(Frame),
}

/// What the letter to a session holds (see [`Letter`](crate::hub::inbox::Letter)). By then the hub has subscribed the socket and
/// the socket has its frames.
pub enum Reply {
    Joined(Place),
    /// the subscription is refused; nothing was sent
    Refused(ChannelName, SubscribeError),
    /// to [`Cluster::look`]
    Looked,
    /// to [`Cluster::watch`]
    Watching(Vec<Place>),
}

/// A subscription that counts in the cluster. Dropped without [`Place::keep`], it is left.
pub struct Place {
    cluster: Cluster,
    app: Arc<App>,
    channel: ChannelKey,
    worker: WorkerId,
    user_id: Option<Arc<str>>,
    is_kept: bool,
}

/// Who waits for an answer.
pub(super) enum Waiter {
    Join(Box<Joining>),
    Look(Box<Looking>),
    Watch(Arc<Watching>),
    Publish {
        taken: Option<oneshot::Sender<()>>,
        _room: OwnedSemaphorePermit,
    },
}

pub(super) struct Joining {
    pub(super) asker: Asker,
    pub(super) place: Place,
    pub(super) welcome: Welcome,
}

pub(super) struct Looking {
    pub(super) asker: Asker,
    pub(super) channel: ChannelKey,
}

/// The users of one watchlist, answered together.
pub(super) struct Watching {
    pub(super) asker: Asker,
    pub(super) app: Arc<App>,
    pub(super) cluster: Cluster,
    pub(super) channels: Vec<ChannelKey>,
    /// users of whom nobody has said yet that they are watched
    unanswered: AtomicUsize,
}

impl Watching {
    /// One more user is watched; `true` with the last one. Counted, for who else still holds this says nothing: whoever asked may be a
    /// moment behind the answers.
    pub(super) fn is_answered(&self) -> bool {
        self.unanswered.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

/// Completes when Redis has taken an event, or when the node goes on without Redis. Fails if the node is stopping: then nobody knows.
pub struct Taken(oneshot::Receiver<()>);

/// Too many events are on their way to Redis, or a worker's inbox is full, or the node is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Congested;

impl Cluster {
    /// `publishes_max`: events on their way to Redis at a time.
    pub(super) fn new(
        requests: mpsc::UnboundedSender<Request<Waiter>>,
        publishes_max: usize,
        status: Arc<Status>,
        rulebook: Rulebook,
    ) -> Cluster {
        Cluster {
            requests,
            room: Arc::new(Semaphore::new(publishes_max)),
            status,
            rulebook,
        }
    }

    /// How the cluster is doing, as this node sees it.
    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Subscribes a socket. It is answered by [`Command::Admit`](crate::hub::inbox::Command::Admit) with [`Reply::Joined`] or
    /// [`Reply::Refused`].
    pub fn join(
        &self,
        app: &Arc<App>,
        channel: ChannelKey,
        asker: Asker,
        member: Option<Arc<Member>>,
        welcome: Welcome,
    ) {
        let place = Place {
            cluster: self.clone(),
            app: app.clone(),
            channel: channel.clone(),
            worker: asker.worker,
            user_id: member.as_ref().map(|member| member.user_id.clone()),
            is_kept: false,
        };
        let joining = Joining {
            asker,
            place,
            welcome,
        };
        let ask = self.join_ask(app, &channel.name, asker.worker, member);
        self.ask(app, channel, ask, Some(Waiter::Join(Box::new(joining))));
    }

    /// Takes one subscription away.
    pub fn leave(
        &self,
        app: &Arc<App>,
        channel: &ChannelKey,
        worker: WorkerId,
        user_id: Option<Arc<str>>,
    ) {
        let ask = Ask::Leave {
            worker,
            user_id,
            rules: self.rules(app, &channel.name),
        };
        self.ask(app, channel.clone(), ask, None);
    }

    fn join_ask(
        &self,
        app: &App,
        channel: &ChannelName,
        worker: WorkerId,
        member: Option<Arc<Member>>,
    ) -> Ask {
        Ask::Join {
            worker,
            ticket: Ticket(0),
            member,
            members_max: app.limits.presence_members_max.unwrap_or(0),
            rules: self.rules(app, channel),
        }
    }

    /// What else is to be done when somebody comes or goes.
    fn rules(&self, app: &App, channel: &ChannelName) -> Rules {
        self.rulebook.rules(app, channel)
    }

    /// Tells a socket that is subscribed already what it would be told if it joined now (S-14). Answered with [`Reply::Looked`].
    pub fn look(&self, channel: ChannelKey, asker: Asker) {
        let waiter = Waiter::Look(Box::new(Looking { asker, channel }));
        self.send(Request::Look(waiter));
    }

    /// Lets a socket watch users; it is told who is online and who isn't in one message (U-22). Answered with
    /// [`Reply::Watching`].
    pub fn watch(&self, app: &Arc<App>, users: &[Arc<str>], asker: Asker) {
        let channels: Vec<ChannelKey> = users
            .iter()
            .map(|id| ChannelKey {
                app: app.index,
                name: ChannelName::watchers_of(id),
            })
            .collect();
        let watching = Arc::new(Watching {
            asker,
            app: app.clone(),
            cluster: self.clone(),
            unanswered: AtomicUsize::new(channels.len()),
            channels: channels.clone(),
        });
        for channel in channels {
            let ask = self.join_ask(app, &channel.name, asker.worker, None);
            self.ask(app, channel, ask, Some(Waiter::Watch(watching.clone())));
        }
    }

    /// Gives an event to Redis. Waits for its turn, up to `wait`; the answer is when Redis has taken it. Events of one caller to
    /// one channel keep their order even if nobody waits for [`Taken`] in between.
    pub async fn publish(
        &self,
        app: &App,
        publication: Publication,
        wait: Duration,
    ) -> Result<Taken, Congested> {
        let room = tokio::time::timeout(wait, self.room.clone().acquire_owned()).await;
        let room = room.map_err(|_| Congested)?.map_err(|_| Congested)?;
        let (sender, taken) = oneshot::channel();
        self.give(app, publication, Some(sender), room);
        Ok(Taken(taken))
    }

    /// The same without waiting for anything.
    pub fn publish_client_event(
        &self,
        app: &App,
        publication: Publication,
    ) -> Result<(), Congested> {
        let room = self.room.clone().try_acquire_owned();
        let room = room.map_err(|_| Congested)?;
        self.give(app, publication, None, room);
        Ok(())
    }

    /// Whether no more client events are taken at this moment.
    pub fn is_congested(&self) -> bool {
        self.room.available_permits() == 0
    }

    fn give(
        &self,
        app: &App,
        publication: Publication,
        taken: Option<oneshot::Sender<()>>,
        room: OwnedSemaphorePermit,
    ) {
        let event = Event {
            body: Body::Frame(publication.frame),
            except: publication.except,
            cached_for: publication.cached.map(|(_, ttl)| ttl),
            published: publication.published,
        };
        let waiter = Waiter::Publish { taken, _room: room };
        let ask = Ask::Publish {
            ticket: None,
            event: Arc::new(event),
        };
        self.ask(app, publication.channel, ask, Some(waiter));
    }

    /// Closes every connection of the cluster that is signed in as this user (U-30); completes when Redis knows.
    pub async fn terminate_user(&self, app: &App, user_id: &str) -> Result<(), Congested> {
        let (sender, taken) = oneshot::channel();
        let room = self.room.clone().acquire_owned().await;
        let room = room.map_err(|_| Congested)?;
        let channel = ChannelKey {
            app: app.index,
            name: ChannelName::server_to_user(user_id),
        };
        let ask = Ask::Publish {
            ticket: None,
            event: Arc::new(Event::close()),
        };
        let waiter = Waiter::Publish {
            taken: Some(sender),
            _room: room,
        };
        self.ask(app, channel, ask, Some(waiter));
        Taken(taken).await
    }

    /// Who is on these channels, in their order, from one round trip.
    pub async fn occupancy(&self, app: &App, channels: Vec<ChannelName>) -> Vec<Occupancy> {
        let count = channels.len();
        match self.query(app, Question::Occupancy(channels)).await {
            Some(Found::Occupancy(found)) => found,
            _ => vec![Occupancy::default(); count],
        }
    }

    /// Occupied channels whose name starts with `prefix`, sorted by name; no user channels (U-16).
    pub async fn channels(&self, app: &App, prefix: &str) -> Vec<(ChannelName, Occupancy)> {
        match self.query(app, Question::Channels(prefix.to_owned())).await {
            Some(Found::Channels(found)) => found,
            _ => Vec::new(),
        }
    }

    /// Ids of a presence channel's members, each once.
    pub async fn users(&self, app: &App, channel: &ChannelName) -> Vec<Arc<str>> {
        match self.query(app, Question::Users(channel.clone())).await {
            Some(Found::Users(found)) => found,
            _ => Vec::new(),
        }
    }

    /// Who is on a channel, and its cached event.
    pub async fn show(&self, app: &App, channel: &ChannelName) -> (Occupancy, Option<Cached>) {
        match self.query(app, Question::Show(channel.clone())).await {
            Some(Found::Show(occupancy, cached)) => (occupancy, cached),
            _ => (Occupancy::default(), None),
        }
    }

    /// Open connections of the app on the other nodes; what they opened or lost in the last quarter of a second may not count yet.
    pub async fn connections_elsewhere(&self, app: &App) -> usize {
        match self.query(app, Question::Connections).await {
            Some(Found::Connections(count)) => count,
            _ => 0,
        }
    }

    /// `None`: the node is stopping.
    async fn query(&self, app: &App, question: Question) -> Option<Found> {
        let query = Query {
            app_id: app.id.as_str().into(),
            app: app.index,
            question,
        };
        let (reply, found) = oneshot::channel();
        self.send(Request::Query { query, reply });
        found.await.ok()
    }

    /// At the end of the process: everything asked before is done, then what this node has in Redis is taken away. Takes as long as
    /// this at most.
    pub async fn stop(&self, patience: Duration) {
        let (sender, stopped) = oneshot::channel();
        self.send(Request::Stop(sender));
        if tokio::time::timeout(patience, stopped).await.is_err() {
            tracing::warn!(
                "this node couldn't take leave of the cluster: the others will notice by its missing signs of life"
            );
        }
    }

    fn ask(&self, app: &App, channel: ChannelKey, ask: Ask, waiter: Option<Waiter>) {
        self.send(Request::Ask {
            channel,
            app_id: app.id.as_str().into(),
            ask,
            waiter,
        });
    }

    fn send(&self, request: Request<Waiter>) {
        // After the stop nobody needs an answer.
        let _ = self.requests.send(request);
    }
}

impl Place {
    /// From now on whoever takes this has to leave ([`Cluster::leave`]).
    pub fn keep(mut self) -> (ChannelKey, Option<Arc<str>>) {
        self.is_kept = true;
        (self.channel.clone(), self.user_id.take())
    }

    pub fn channel(&self) -> &ChannelKey {
        &self.channel
    }

    /// Of a socket that watches, on the channel of one of its users.
    pub(super) fn watching(watching: &Watching, channel: &ChannelKey) -> Place {
        Place {
            cluster: watching.cluster.clone(),
            app: watching.app.clone(),
            channel: channel.clone(),
            worker: watching.asker.worker,
            user_id: None,
            is_kept: false,
        }
    }

    /// There is nothing to leave.
    pub(super) fn forget(mut self) -> (Arc<App>, ChannelKey) {
        self.is_kept = true;
        (self.app.clone(), self.channel.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_kept {
            let user_id = mem::take(&mut self.user_id);
            self.cluster
                .leave(&self.app, &self.channel, self.worker, user_id);
        }
    }
}

impl Future for Taken {
    type Output = Result<(), Congested>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let taken = Pin::new(&mut self.0).poll(cx);
        taken.map(|taken| taken.map_err(|_| Congested))
    }
}

//! How an event gets to its subscribers: straight through the directory, or in a cluster through Redis, from where it comes back
//! to every node, this one included.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Node, key};
use crate::{
    apps::App,
    cluster::{Cluster, Taken},
    directory::{Full, Publication},
    observe::Socket,
    protocol::{channel::ChannelName, event::EventData, server, socket_id::SocketId},
    webhook,
};

/// An event to be published to one channel.
pub struct Event<'a> {
    pub name: &'a str,
    pub data: &'a EventData<'a>,
    /// the connection that must not get it (H-24)
    pub except: Option<SocketId>,
}

/// A member's client event, after all checks.
pub struct MemberEvent<'a> {
    pub name: &'a str,
    pub data: &'a EventData<'a>,
    /// the connection that doesn't get it (E-6)
    pub sender: SocketId,
    /// the sender's id on a presence channel (E-8)
    pub user_id: Option<&'a Arc<str>>,
}

/// Some worker's inbox stayed full for `hub.publish_wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The server is overloaded and took nothing: send the event again in a moment")]
pub struct Congested;

impl Node {
    /// Publishes an event that came over the HTTP API; cache channels keep it (S-20). While there is no room for it, it waits,
    /// up to `hub.publish_wait`.
    ///
    /// Then its place among the events of the channel is certain. In a cluster somebody who was told of its success must find it
    /// on every node: the answer is to wait for [`Taken`], which one can do for many events at once. `None`: there is nothing to
    /// wait for.
    pub async fn publish(
        &self,
        app: &App,
        channel: &ChannelName,
        event: Event<'_>,
    ) -> Result<Option<Taken>, Congested> {
        let cached = channel.kind().is_cache().then(|| {
            let ttl = Duration::from_secs(u64::from(app.limits.cache_ttl_s));
            (event.data.clone().into_owned(), ttl)
        });
        let publication = Publication {
            channel: key(app, channel),
            frame: server::event(event.name, channel, event.data, None),
            except: event.except,
            published: Instant::now(),
            cached,
        };
        let taken = match &self.cluster {
            Some(cluster) => Some(self.give(cluster, app, publication).await?),
            None => {
                self.hand_out(app, &publication).await?;
                None
            }
        };
        self.observer
            .published(&app.id, channel, event.name, event.data);
        Ok(taken)
    }

    async fn give(
        &self,
        cluster: &Cluster,
        app: &App,
        publication: Publication,
    ) -> Result<Taken, Congested> {
        let wait = self.settings().hub.publish_wait;
        let channel = publication.channel.name.clone();
        cluster.publish(app, publication, wait).await.map_err(|_| {
            tracing::warn!(
                app = app.id,
                channel = channel.as_str(),
                "refused an event: too many are on their way to Redis (cluster.publishes_max)"
            );
            Congested
        })
    }

    async fn hand_out(&self, app: &App, publication: &Publication) -> Result<(), Congested> {
        let Err(full) = self.directory.publish(publication, Instant::now()) else {
            return Ok(());
        };
        let wait = self.settings().hub.publish_wait;
        let published = self.publish_when_there_is_room(publication, full);
        tokio::time::timeout(wait, published).await.map_err(|_| {
            tracing::warn!(
                app = app.id,
                channel = publication.channel.name.as_str(),
                "refused an event: a worker's inbox is full (hub.inbox_depth_max)"
            );
            Congested
        })
    }

    async fn publish_when_there_is_room(&self, publication: &Publication, mut full: Full) {
        while let Some(inbox) = self.directory.inbox(full.0) {
            let mut room = std::pin::pin!(inbox.room());
            // Listening before looking again, so that no news is missed in between.
            room.as_mut().enable();
            match self.directory.publish(publication, Instant::now()) {
                Ok(()) => return,
                // This one's news would be no news of that one.
                Err(other) if other != full => full = other,
                Err(_) => room.await,
            }
        }
    }

    /// Publishes a client event to all but its sender (E-6), and tells the webhooks (E-12). Never waits; never cached.
    pub fn publish_client_event(
        &self,
        app: &App,
        channel: &ChannelName,
        event: MemberEvent<'_>,
    ) -> Result<(), Congested> {
        let MemberEvent {
            name,
            data,
            sender,
            user_id,
        } = event;
        let publication = Publication {
            channel: key(app, channel),
            frame: server::event(name, channel, data, user_id.map(|id| &**id)),
            except: Some(sender),
            published: Instant::now(),
            cached: None,
        };
        let published = match &self.cluster {
            Some(cluster) => cluster
                .publish_client_event(app, publication)
                .map_err(|_| Congested),
            None => self
                .directory
                .publish(&publication, Instant::now())
                .map_err(|_| Congested),
        };
        published?;
        let socket = Socket {
            app: &app.id,
            id: sender,
        };
        self.observer.client_event(socket, channel, name, data);
        if self.webhooks.is_wanted(app) {
            let event = webhook::Event::ClientEvent {
                channel: channel.clone(),
                event: name.to_owned(),
                data: data.clone().into_owned(),
                socket_id: sender,
                user_id: user_id.cloned(),
            };
            self.webhooks.raise(app, event);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;
    use crate::{
        config,
        hub::inbox::{Commands, WorkerId, inbox},
    };

    /// Takes one command, so that there is room for another.
    fn make_room(commands: &mut Commands) {
        commands.take_now(&mut Vec::new(), 1);
    }

    #[tokio::test]
    async fn who_waits_for_one_worker_and_then_for_another_hears_of_both() {
        let (inboxes, mut queues): (Vec<_>, Vec<_>) = (0..2).map(|_| inbox(1)).unzip();
        let app = "[[apps]]\nid = \"app\"\nkey = \"key\"\nsecret = \"secret\"";
        let settings = config::from_toml(app).expect("settings");
        let node = Node::new(settings, inboxes, 1000);
        let app = node.apps().by_id("app").expect("the app").clone();
        let channel = ChannelName::parse("a", 200).expect("name");
        for worker in [WorkerId(0), WorkerId(1)] {
            let joined =
                node.directory()
                    .join(&app, &key(&app, &channel), worker, None, Instant::now());
            joined.expect("within the limits");
        }
        let data = EventData::from_text("{}");
        let publish = || {
            let event = Event {
                name: "e",
                data: &data,
                except: None,
            };
            node.publish(&app, &channel, event)
        };
        assert!(publish().await.is_ok());

        let mut waiting = pin!(publish());
        let mut poll = || {
            let polled = waiting
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            matches!(polled, Poll::Ready(Ok(None)))
        };
        assert!(!poll(), "both are full");
        make_room(&mut queues[0]);
        assert!(!poll(), "the second is full");
        make_room(&mut queues[1]);
        assert!(poll(), "nothing is full any more");
    }
}

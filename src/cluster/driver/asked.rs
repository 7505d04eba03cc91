//! What the driver is asked: by whoever serves clients, and by what is due.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Answered, Driver, Names, Node, Request};
use crate::{
    cluster::{
        core::Input,
        queries::{self, Found, Query},
        terms::{Ask, Ticket},
    },
    hub::inbox::ChannelKey,
};

impl<N: Node> Driver<N> {
    pub(super) fn take_request(&mut self, request: Request<N::Waiter>) {
        match request {
            Request::Ask {
                channel,
                app_id,
                ask,
                waiter,
            } => {
                self.ask(channel, app_id, ask, waiter);
            }
            Request::Look(waiter) => {
                self.obey();
                self.node.looked(waiter, &self.core);
            }
            Request::Query { query, reply } => self.query(query, reply),
            Request::Stop(stopped) => {
                self.stopping = Some(stopped);
                // The others go on waiting for a return, which is to them.
                if self.is_last() {
                    self.held.hurry();
                }
            }
        }
    }

    pub(super) fn ask(
        &mut self,
        channel: ChannelKey,
        app_id: Arc<str>,
        mut ask: Ask,
        waiter: Option<N::Waiter>,
    ) -> Ticket {
        self.tickets += 1;
        let number = Ticket(self.tickets);
        match &mut ask {
            Ask::Join { ticket, .. } => {
                if let Some(waiter) = waiter {
                    if !self.has_room_for(&channel) {
                        self.node.has_no_room(waiter);
                        return number;
                    }
                    self.waiters.insert(number, waiter);
                }
                *ticket = number;
            }
            Ask::Publish { ticket, .. } => {
                *ticket = waiter.is_some().then_some(number);
                if let Some(waiter) = waiter {
                    self.waiters.insert(number, waiter);
                }
            }
            Ask::Online(_, ticket) => *ticket = number,
            Ask::Leave { .. } | Ask::Count | Ask::Settle => {}
        }
        if !self.names.contains_key(&channel) {
            let keys = Arc::new(self.keys.channel(&app_id, &channel.name));
            self.by_topic.insert(keys.topic.clone(), channel.clone());
            self.names.insert(channel.clone(), Names { app_id, keys });
        }
        self.input(Input::Ask(channel, ask));
        number
    }

    /// Whether the channel may have subscribers here. One that has none yet counts from the first question on.
    fn has_room_for(&mut self, channel: &ChannelKey) -> bool {
        if self.core.view(channel).is_some() || channel.name.is_internal() {
            return true;
        }
        let opening = self.opening.entry(channel.app).or_default();
        if opening.contains(channel) {
            return true;
        }
        let has_room = !self.node.has_no_room_for(channel, opening.len());
        if has_room {
            opening.insert(channel.clone());
        }
        has_room
    }

    /// Its first subscriber has been let in, or nobody will be.
    pub(super) fn is_opening_no_more(&mut self, channel: &ChannelKey) {
        if let Some(opening) = self.opening.get_mut(&channel.app) {
            opening.remove(channel);
        }
    }

    fn query(&mut self, query: Query, reply: oneshot::Sender<Found>) {
        let Some(mut connection) = self.connection.clone().filter(|_| self.is_up) else {
            return self.reply_alone(&query, reply);
        };
        let (keys, name) = (self.keys.clone(), self.name.clone());
        self.queries.push(Box::pin(async move {
            let found = queries::ask(&query, &mut connection, &keys, &name).await;
            (query, reply, found)
        }));
    }

    pub(super) fn take_answered(&mut self, (query, reply, found): Answered) {
        match found {
            Ok(found) => {
                // whoever asked may have gone
                let _ = reply.send(found);
            }
            Err(error) => {
                tracing::info!("answering for this node alone: {error}");
                self.reply_alone(&query, reply);
            }
        }
    }

    fn reply_alone(&self, query: &Query, reply: oneshot::Sender<Found>) {
        let _ = reply.send(queries::ask_alone(query, &self.core));
    }
}

//! Directory: what must be true across workers: who has subscribers, how many, who is present, the cached event. Its
//! locks are taken one at a time and never across an `await`; commands go into the hubs' inboxes under the
//! channel's lock, so that every worker sees one order.

mod cache;
mod counts;
mod later;
mod presence;
mod users;

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use self::{cache::Cache, later::Later, presence::Presence, users::IsOnline};
pub use self::{
    cache::Cached,
    counts::{COUNT_PAUSE, COUNTED_AT_ONCE_MAX, is_counted},
    users::Watched,
};
use crate::{
    apps::App,
    frame::Frame,
    hub::inbox::{ChannelKey, Command, Inbox, Position, WorkerId},
    protocol::{
        channel::ChannelName, codes::SubscribeError, event::EventData, presence::Member, server,
        socket_id::SocketId,
    },
    webhook::{Event, Webhooks},
};

/// Locks over which the channels are spread. Far more than workers, so that two seldom meet.
const SHARDS: usize = 64;

/// Some worker's inbox is full: nothing was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full(pub WorkerId);

/// Who is on a channel now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// connections
    pub subscription_count: u32,
    /// distinct members, 0 unless it is a presence channel (P-15)
    pub user_count: u32,
}

/// What a new subscriber finds, true at one moment: no event before [`since`](Joined::since) is still to come, none
/// after it is missed (S-13).
#[derive(Debug)]
pub struct Joined {
    pub since: Position,
    /// everybody on a presence channel, the joiner included (P-5)
    pub members: Vec<Arc<Member>>,
    /// the live cached event of a cache channel
    pub cached: Option<Frame>,
    /// the channel came into being by it
    pub is_first: bool,
}

/// An event for the directory to hand out.
#[derive(Debug)]
pub struct Publication {
    pub channel: ChannelKey,
    pub frame: Frame,
    pub except: Option<SocketId>,
    /// when it came in
    pub published: Instant,
    /// what a cache channel keeps of it, and for how long (S-20, S-21)
    pub cached: Option<(EventData<'static>, Duration)>,
}

/// See the module's documentation.
pub struct Directory {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    inboxes: Vec<Inbox>,
    /// told under the channel's lock, so that what it hears of a channel is in order
    webhooks: Webhooks,
}

#[derive(Default)]
struct Shard {
    /// the last position given out
    position: u64,
    channels: HashMap<ChannelKey, Channel>,
    cache: Cache,
    /// users (by their channel) whose last connection is gone, but who still count as online (U-23)
    lingering: HashMap<ChannelKey, Instant>,
    /// when lingering users go offline
    offline: Later,
    /// when large channels are told their number
    counts: Later,
}

#[derive(Default)]
struct Channel {
    /// subscribers of each worker that has some
    workers: Vec<(WorkerId, u32)>,
    presence: Option<Box<Presence>>,
    /// when its number was told last, on channels that are told
    count_told: Option<Instant>,
    /// whether a telling is planned
    is_count_due: bool,
}

impl Directory {
    /// `cached_events_max`: cached events kept in the process; over it the one published longest ago goes.
    pub fn new(inboxes: Vec<Inbox>, cached_events_max: usize, webhooks: Webhooks) -> Directory {
        Directory {
            shards: (0..SHARDS)
                .map(|_| {
                    Mutex::new(Shard {
                        cache: Cache::new(cached_events_max.div_ceil(SHARDS)),
                        ..Shard::default()
                    })
                })
                .collect(),
            hasher: RandomState::new(),
            inboxes,
            webhooks,
        }
    }

    fn shard(&self, channel: &ChannelKey) -> MutexGuard<'_, Shard> {
        // All that concerns a user is under one lock: whoever begins to watch neither misses nor repeats a change.
        let hash = match channel.name.concerned_user() {
            Some(user_id) => self.hasher.hash_one((channel.app, user_id)),
            None => self.hasher.hash_one(channel),
        };
        let index = hash % SHARDS as u64;
        self.lock(usize::try_from(index).unwrap_or(0))
    }

    /// A panic while a lock was held leaves counts that may be off by one, not memory that is unsound: going on serves
    /// everybody better than failing every request from then on.
    fn lock(&self, index: usize) -> MutexGuard<'_, Shard> {
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub fn inbox(&self, worker: WorkerId) -> Option<&Inbox> {
        self.inboxes.get(usize::from(worker.0))
    }

    pub fn inboxes(&self) -> &[Inbox] {
        &self.inboxes
    }

    /// Whether any worker is so far behind that nobody should be given more to do.
    pub fn is_congested(&self) -> bool {
        self.inboxes.iter().any(Inbox::is_full)
    }

    /// Adds a subscription of `worker`, and the member on presence channels; announces a new member to the others (P-6).
    ///
    /// Fails over the limits of channels per app and of members per channel (P-12), changing nothing.
    pub fn join(
        &self,
        app: &App,
        channel: &ChannelKey,
        worker: WorkerId,
        member: Option<&Arc<Member>>,
        now: Instant,
    ) -> Result<Joined, SubscribeError> {
        let mut guard = self.shard(channel);
        let shard = &mut *guard;
        let is_new_channel = !shard.channels.contains_key(channel);
        if is_new_channel && !count_channel(app, &channel.name) {
            return Err(SubscribeError::AppChannelsLimit {
                max: app.limits.channels_max,
            });
        }
        let entry = shard.channels.entry(channel.clone()).or_default();
        let mut announced = None;
        if let Some(member) = member {
            let presence = entry.presence.get_or_insert_default();
            match presence.join(member, app.limits.presence_members_max) {
                Ok(true) => announced = Some(server::member_added(&channel.name, member)),
                Ok(false) => {}
                Err(presence::MembersLimit) => {
                    if entry.workers.is_empty() {
                        shard.channels.remove(channel);
                        uncount_channel(app, &channel.name);
                    }
                    return Err(SubscribeError::MembersLimit);
                }
            }
        }
        if is_new_channel {
            self.raise(channel, |channel| Event::ChannelOccupied { channel });
        }
        if let (Some(_), Some(member)) = (&announced, member) {
            let user_id = member.user_id.clone();
            self.raise(channel, |channel| Event::MemberAdded { channel, user_id });
        }
        if let Some(frame) = announced {
            // Before the joiner is counted in, so that no worker is told for the joiner's sake alone.
            shard.position += 1;
            self.tell(entry, channel, Position(shard.position), &frame, None, now);
        }
        entry.add(worker);
        let members = entry.presence.as_ref().map_or_else(Vec::new, |p| p.list());
        let joined = Joined {
            since: Position(shard.position),
            members,
            cached: shard.cache.frame(channel, now),
            is_first: is_new_channel,
        };
        self.count_changed(app, shard, channel, now);
        if is_new_channel && shard.lingering.remove(channel).is_none() {
            self.tell_watchers(shard, channel, IsOnline(true), now);
        }
        Ok(joined)
    }

    /// What a connection that is subscribed already would find if it joined now (S-14).
    pub fn look(&self, channel: &ChannelKey, now: Instant) -> (Vec<Arc<Member>>, Option<Frame>) {
        let shard = self.shard(channel);
        let members = shard
            .channels
            .get(channel)
            .and_then(|entry| entry.presence.as_ref())
            .map_or_else(Vec::new, |presence| presence.list());
        (members, shard.cache.frame(channel, now))
    }

    /// Takes one subscription of `worker` away; announces a member whose last connection it was (P-8). Returns whether
    /// the channel ceased with it.
    pub fn leave(
        &self,
        app: &App,
        channel: &ChannelKey,
        worker: WorkerId,
        user_id: Option<&str>,
        now: Instant,
    ) -> bool {
        let mut guard = self.shard(channel);
        let shard = &mut *guard;
        let Some(entry) = shard.channels.get_mut(channel) else {
            return false;
        };
        entry.subtract(worker);
        let left = match (user_id, &mut entry.presence) {
            (Some(user_id), Some(presence)) => presence.leave(user_id),
            _ => false,
        };
        if let (true, Some(user_id)) = (left, user_id) {
            let user_id = user_id.into();
            self.raise(channel, |channel| Event::MemberRemoved { channel, user_id });
        }
        if entry.workers.is_empty() {
            shard.channels.remove(channel);
            uncount_channel(app, &channel.name);
            self.raise(channel, |channel| Event::ChannelVacated { channel });
            if app.users.watchlist && channel.name.user_id().is_some() {
                let due = now + app.users.watchlist_grace;
                shard.lingering.insert(channel.clone(), due);
                shard.offline.add(due, channel.clone());
            }
            return true;
        }
        if let (true, Some(user_id)) = (left, user_id) {
            let frame = server::member_removed(&channel.name, user_id);
            shard.position += 1;
            self.tell(entry, channel, Position(shard.position), &frame, None, now);
        }
        self.count_changed(app, shard, channel, now);
        false
    }

    /// Does what was put off until now: users go offline, large channels are told their number.
    pub fn settle(&self, now: Instant) {
        for index in 0..self.shards.len() {
            let mut guard = self.lock(index);
            let shard = &mut *guard;
            while let Some((due, user)) = shard.offline.take(now) {
                // One that came back and left again has a later time.
                if shard.lingering.get(&user) == Some(&due) {
                    shard.lingering.remove(&user);
                    self.tell_watchers(shard, &user, IsOnline(false), now);
                }
            }
            while let Some((_, channel)) = shard.counts.take(now) {
                self.tell_count(shard, &channel, now);
            }
        }
    }

    /// Hands an event to every worker that has subscribers, and keeps it for cache channels. If one of the workers has
    /// no room, nothing happens to any.
    pub fn publish(&self, publication: &Publication, now: Instant) -> Result<(), Full> {
        let Publication {
            channel,
            frame,
            except,
            published,
            cached,
        } = publication;
        let mut guard = self.shard(channel);
        let shard = &mut *guard;
        let entry = shard.channels.get(channel);
        if let Some(full) = entry.and_then(|entry| self.first_full(entry)) {
            return Err(Full(full));
        }
        if let Some((data, ttl)) = cached {
            shard
                .cache
                .put(channel.clone(), frame.clone(), data.clone(), now + *ttl);
        }
        if let Some(entry) = entry {
            shard.position += 1;
            let position = Position(shard.position);
            self.tell(entry, channel, position, frame, *except, *published);
        }
        Ok(())
    }

    /// Tells the webhooks what happened to a channel. The server's own channels are nobody's business.
    fn raise(&self, channel: &ChannelKey, event: impl FnOnce(ChannelName) -> Event) {
        if !channel.name.is_internal() {
            self.webhooks
                .raise_for(channel.app, event(channel.name.clone()));
        }
    }

    fn first_full(&self, entry: &Channel) -> Option<WorkerId> {
        entry
            .workers
            .iter()
            .map(|(worker, _)| *worker)
            .find(|worker| self.inbox(*worker).is_some_and(Inbox::is_full))
    }

    fn tell(
        &self,
        entry: &Channel,
        channel: &ChannelKey,
        position: Position,
        frame: &Frame,
        except: Option<SocketId>,
        published: Instant,
    ) {
        for (worker, _) in &entry.workers {
            if let Some(inbox) = self.inbox(*worker) {
                inbox.push(Command::Deliver {
                    channel: channel.clone(),
                    position,
                    frame: frame.clone(),
                    except,
                    published,
                });
            }
        }
    }

    pub fn occupancy(&self, channel: &ChannelKey) -> Occupancy {
        self.shard(channel)
            .channels
            .get(channel)
            .map_or_else(Occupancy::default, Channel::occupancy)
    }

    /// The app's occupied channels whose name starts with `prefix`, in no order, user channels left out (U-16). Looks at
    /// every channel of the process, one lock after the other.
    pub fn channels(&self, app: u32, prefix: &str) -> Vec<(ChannelName, Occupancy)> {
        let mut found = Vec::new();
        for index in 0..self.shards.len() {
            let shard = self.lock(index);
            let of_app = shard.channels.iter().filter(|(key, _)| {
                key.app == app && key.name.as_str().starts_with(prefix) && !key.name.is_internal()
            });
            found.extend(of_app.map(|(key, entry)| (key.name.clone(), entry.occupancy())));
        }
        found
    }

    /// Ids of a presence channel's members, each once (H-32).
    pub fn users(&self, channel: &ChannelKey) -> Vec<Arc<str>> {
        self.shard(channel)
            .channels
            .get(channel)
            .and_then(|entry| entry.presence.as_ref())
            .map_or_else(Vec::new, |presence| presence.ids())
    }

    /// The live cached event of a cache channel.
    pub fn cached(&self, channel: &ChannelKey, now: Instant) -> Option<Cached> {
        self.shard(channel).cache.get(channel, now)
    }

    /// Cached events that are kept, expired ones that nobody has looked for included.
    pub fn cached_events(&self) -> usize {
        let shards = 0..self.shards.len();
        shards.map(|index| self.lock(index).cache.count()).sum()
    }

    /// Lets go of cached events whose time is over.
    pub fn expire_cached(&self, now: Instant) {
        for index in 0..self.shards.len() {
            self.lock(index).cache.expire(now);
        }
    }
}

/// Counts a new channel of the app; `false` over the limit. The server's own channels don't count.
fn count_channel(app: &App, name: &ChannelName) -> bool {
    if name.is_internal() {
        return true;
    }
    // Not one too many for a moment either: at that moment another might be refused for it.
    let counted = app
        .usage
        .channels
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < app.limits.channels_max).then_some(count + 1)
        });
    counted.is_ok()
}

fn uncount_channel(app: &App, name: &ChannelName) {
    if !name.is_internal() {
        app.usage.channels.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Channel {
    fn add(&mut self, worker: WorkerId) {
        match self.workers.iter_mut().find(|(w, _)| *w == worker) {
            Some((_, count)) => *count += 1,
            None => self.workers.push((worker, 1)),
        }
    }

    fn subtract(&mut self, worker: WorkerId) {
        if let Some(at) = self.workers.iter().position(|(w, _)| *w == worker) {
            self.workers[at].1 -= 1;
            if self.workers[at].1 == 0 {
                self.workers.swap_remove(at);
            }
        }
    }

    fn connections(&self) -> u32 {
        self.workers.iter().map(|(_, count)| count).sum()
    }

    fn occupancy(&self) -> Occupancy {
        Occupancy {
            subscription_count: self.connections(),
            user_count: self.presence.as_ref().map_or(0, |p| p.user_count()),
        }
    }
}

#[cfg(test)]
mod tests;

use super::*;
use crate::{
    apps::SubscriptionCount,
    config,
    hub::inbox::{Commands, inbox},
};
use proptest::{collection::vec, prelude::*};
use std::collections::BTreeSet;

/// A directory for two workers, whose inboxes the test reads.
struct Scene {
    directory: Directory,
    inboxes: Vec<Commands>,
    app: App,
}

const FIRST: WorkerId = WorkerId(0);
const SECOND: WorkerId = WorkerId(1);

impl Scene {
    fn new(depth_max: usize) -> Scene {
        let (senders, inboxes) = (0..2).map(|_| inbox(depth_max)).unzip();
        let mut settings = config::from_toml("").expect("defaults");
        Scene {
            directory: Directory::new(senders, 64 * SHARDS, Webhooks::default()),
            inboxes,
            app: settings.apps.remove(0),
        }
    }

    fn join(&self, channel: &str, worker: WorkerId, user: Option<&str>) -> Joined {
        self.try_join(channel, worker, user).expect("joined")
    }

    fn try_join(
        &self,
        channel: &str,
        worker: WorkerId,
        user: Option<&str>,
    ) -> Result<Joined, SubscribeError> {
        let member = user.map(|id| {
            Arc::new(Member {
                user_id: id.into(),
                user_info: "{}".into(),
            })
        });
        self.directory.join(
            &self.app,
            &key(channel),
            worker,
            member.as_ref(),
            Instant::now(),
        )
    }

    fn leave(&self, channel: &str, worker: WorkerId, user: Option<&str>) {
        self.directory
            .leave(&self.app, &key(channel), worker, user, Instant::now());
    }

    fn publish(&self, channel: &str, text: &str) -> Result<(), Full> {
        self.directory.publish(
            &Publication {
                channel: key(channel),
                frame: Frame::text(text),
                except: None,
                published: Instant::now(),
                cached: None,
            },
            Instant::now(),
        )
    }

    /// Positions and texts that wait for a worker.
    fn waiting(&mut self, worker: WorkerId) -> Vec<(Position, Frame)> {
        let mut commands = Vec::new();
        self.inboxes[usize::from(worker.0)].take_now(&mut commands, 1000);
        commands
            .into_iter()
            .map(|command| match command {
                Command::Deliver {
                    position, frame, ..
                } => (position, frame),
                other => panic!("unexpected: {other:?}"),
            })
            .collect()
    }
}

fn key(channel: &str) -> ChannelKey {
    ChannelKey {
        app: 0,
        name: ChannelName::parse(channel, 200).expect("a valid name"),
    }
}

#[test]
fn s13_a_subscriber_gets_what_is_published_after_it_joined_and_nothing_before() {
    let mut scene = Scene::new(100);
    let first = scene.join("room", FIRST, None);
    scene.publish("room", "before").expect("room");
    let second = scene.join("room", FIRST, None);
    scene.publish("room", "after").expect("room");
    let waiting = scene.waiting(FIRST);
    assert_eq!(waiting.len(), 2);
    assert!(waiting[0].0 > first.since && waiting[0].0 <= second.since);
    assert!(waiting[1].0 > second.since);
}

#[test]
fn positions_do_not_start_again_when_a_channel_is_vacated() {
    let mut scene = Scene::new(100);
    scene.join("room", FIRST, None);
    scene.publish("room", "old").expect("room");
    scene.leave("room", FIRST, None);
    let later = scene.join("room", FIRST, None);
    let waiting = scene.waiting(FIRST);
    assert!(waiting[0].0 <= later.since);
}

#[test]
fn s30_workers_see_one_order_and_only_what_they_have_subscribers_for() {
    let mut scene = Scene::new(100);
    scene.join("a", FIRST, None);
    scene.join("a", SECOND, None);
    scene.join("b", SECOND, None);
    for text in ["1", "2", "3"] {
        scene.publish("a", text).expect("room");
        scene.publish("b", text).expect("room");
        scene.publish("nobody", text).expect("room");
    }
    let first = scene.waiting(FIRST);
    let second = scene.waiting(SECOND);
    assert_eq!(first.len(), 3);
    assert_eq!(second.len(), 6);
    let texts: Vec<_> = first.iter().map(|(_, frame)| frame.clone()).collect();
    assert_eq!(texts, ["1", "2", "3"].map(Frame::text));
}

#[test]
fn p6_p8_members_are_announced_once_to_those_who_are_there() {
    let mut scene = Scene::new(100);
    let room = "presence-room";
    let ann = scene.join(room, FIRST, Some("ann"));
    assert_eq!(ann.members.len(), 1);
    assert!(scene.waiting(FIRST).is_empty());

    let bob = scene.join(room, SECOND, Some("bob"));
    assert_eq!(bob.members.len(), 2);
    assert_eq!(scene.waiting(FIRST).len(), 1);
    // nobody but the joiner is there
    assert!(scene.waiting(SECOND).is_empty());

    // a second connection of bob, on the other worker
    scene.join(room, FIRST, Some("bob"));
    assert!(scene.waiting(FIRST).is_empty() && scene.waiting(SECOND).is_empty());
    assert_eq!(
        scene.directory.occupancy(&key(room)),
        Occupancy {
            subscription_count: 3,
            user_count: 2
        }
    );

    scene.leave(room, SECOND, Some("bob"));
    assert!(scene.waiting(FIRST).is_empty());
    scene.leave(room, FIRST, Some("bob"));
    assert_eq!(scene.waiting(FIRST).len(), 1);
    scene.leave(room, FIRST, Some("ann"));
    assert!(scene.waiting(FIRST).is_empty());
    assert_eq!(scene.directory.occupancy(&key(room)), Occupancy::default());
    assert!(scene.directory.channels(0, "").is_empty());
}

#[test]
fn p6_a_joiner_is_not_told_of_itself() {
    let mut scene = Scene::new(100);
    scene.join("presence-room", FIRST, Some("ann"));
    let bob = scene.join("presence-room", FIRST, Some("bob"));
    let waiting = scene.waiting(FIRST);
    assert_eq!(waiting.len(), 1);
    assert!(
        waiting[0].0 <= bob.since,
        "bob must not get his own arrival"
    );
}

#[test]
fn p12_members_over_the_limit_are_refused_and_leave_nothing_behind() {
    let mut scene = Scene::new(100);
    scene.app.limits.presence_members_max = Some(1);
    scene.join("presence-a", FIRST, Some("ann"));
    assert_eq!(
        scene.try_join("presence-a", FIRST, Some("bob")).err(),
        Some(SubscribeError::MembersLimit)
    );
    scene.join("presence-a", SECOND, Some("ann"));
    assert_eq!(
        scene
            .directory
            .occupancy(&key("presence-a"))
            .subscription_count,
        2
    );

    scene.app.limits.presence_members_max = Some(0);
    assert!(scene.try_join("presence-b", FIRST, Some("ann")).is_err());
    assert_eq!(scene.directory.channels(0, "presence-b").len(), 0);
}

#[test]
fn channels_of_an_app_are_limited() {
    let mut scene = Scene::new(100);
    scene.app.limits.channels_max = 2;
    scene.join("a", FIRST, None);
    scene.join("b", FIRST, None);
    assert_eq!(
        scene.try_join("c", FIRST, None).err(),
        Some(SubscribeError::AppChannelsLimit { max: 2 })
    );
    // one that exists may grow
    scene.join("b", SECOND, None);
    scene.leave("a", FIRST, None);
    scene.join("c", FIRST, None);
}

#[test]
fn a_full_inbox_takes_no_event_from_anyone_but_what_must_not_be_lost() {
    let mut scene = Scene::new(2);
    scene.join("presence-room", FIRST, Some("ann"));
    scene.join("presence-room", SECOND, Some("bob"));
    scene.waiting(FIRST);
    scene.publish("presence-room", "1").expect("room");
    scene.waiting(SECOND);
    scene.publish("presence-room", "2").expect("room");
    assert_eq!(scene.publish("presence-room", "3"), Err(Full(FIRST)));
    // the second worker, which has room, didn't get it either
    assert_eq!(scene.waiting(SECOND).len(), 1);
    scene.leave("presence-room", SECOND, Some("bob"));
    assert_eq!(scene.waiting(FIRST).len(), 3);
    scene.publish("presence-room", "4").expect("room again");
}

#[test]
fn s20_s21_cached_events_outlive_their_subscribers_but_not_their_time() {
    let scene = Scene::new(100);
    let channel = key("cache-prices");
    let start = Instant::now();
    let ttl = Duration::from_secs(1800);
    let put = |text: &str, at: Instant| {
        let publication = Publication {
            channel: channel.clone(),
            frame: Frame::text(text),
            except: None,
            published: at,
            cached: Some((EventData::from_text(text), ttl)),
        };
        scene.directory.publish(&publication, at).expect("room");
    };
    put("1", start);
    put("2", start + Duration::from_secs(10));
    let at = |seconds: u64| {
        let (_, frame) = scene
            .directory
            .look(&channel, start + Duration::from_secs(seconds));
        frame
    };
    assert_eq!(at(10), Some(Frame::text("2")));
    assert_eq!(at(1809), Some(Frame::text("2")));
    assert_eq!(at(1810), None);
    let cached = scene
        .directory
        .cached(&channel, start + Duration::from_secs(1800));
    let cached = cached.expect("still alive");
    assert_eq!((cached.data.as_json(), cached.ttl_s), ("\"2\"", 10));
    scene
        .directory
        .expire_cached(start + Duration::from_secs(1810));
    assert_eq!(at(10), None, "expired events are let go");
}

#[test]
fn cached_events_are_limited_and_the_oldest_goes_first() {
    let directory = Directory::new(Vec::new(), SHARDS, Webhooks::default());
    let now = Instant::now();
    let names: Vec<ChannelKey> = (0..1000).map(|n| key(&format!("cache-{n}"))).collect();
    for channel in &names {
        let publication = Publication {
            channel: channel.clone(),
            frame: Frame::text("x"),
            except: None,
            published: now,
            cached: Some((EventData::from_text("x"), Duration::from_secs(60))),
        };
        directory.publish(&publication, now).expect("room");
    }
    let kept = |channel: &ChannelKey| directory.cached(channel, now).is_some();
    assert!(names.iter().filter(|name| kept(name)).count() <= SHARDS);
    assert!(kept(&names[999]), "the newest is kept");
}

fn frames(waiting: Vec<(Position, Frame)>) -> Vec<Frame> {
    waiting.into_iter().map(|(_, frame)| frame).collect()
}

fn ids(ids: &[&str]) -> Vec<Arc<str>> {
    ids.iter().map(|id| Arc::from(*id)).collect()
}

#[test]
fn u23_watchers_are_told_of_the_first_and_the_last_connection() {
    let mut scene = Scene::new(100);
    scene.app.users.watchlist = true;
    scene.app.users.watchlist_grace = Duration::from_secs(2);
    let watched = scene.directory.watch(0, "ann", SECOND);
    assert!(!watched.is_online);
    let user = "#server-to-user-ann";
    let start = Instant::now();

    scene.join(user, FIRST, None);
    assert_eq!(
        frames(scene.waiting(SECOND)),
        [server::watchlist_events(&ids(&["ann"]), &[])]
    );
    scene.join(user, SECOND, None);
    assert!(scene.directory.watch(0, "ann", FIRST).is_online);
    scene
        .directory
        .leave(&scene.app, &key(user), SECOND, None, start);
    assert!(scene.waiting(SECOND).is_empty());

    // gone and back within the grace: nobody is told
    scene
        .directory
        .leave(&scene.app, &key(user), FIRST, None, start);
    let later = |seconds: u64| start + Duration::from_secs(seconds);
    scene.directory.settle(later(1));
    assert!(scene.directory.watch(0, "ann", FIRST).is_online);
    scene.join(user, FIRST, None);
    scene.directory.settle(later(10));
    assert!(scene.waiting(SECOND).is_empty());

    // gone for good
    scene
        .directory
        .leave(&scene.app, &key(user), FIRST, None, later(20));
    scene.directory.settle(later(21));
    assert!(scene.waiting(SECOND).is_empty());
    scene.directory.settle(later(22));
    assert_eq!(
        frames(scene.waiting(SECOND)),
        [server::watchlist_events(&[], &ids(&["ann"]))]
    );
    assert!(!scene.directory.watch(0, "ann", FIRST).is_online);
}

#[test]
fn u16_users_channels_and_their_watchers_are_nobodys_business() {
    let scene = Scene::new(100);
    let watched = scene.directory.watch(0, "ann", FIRST);
    scene.join("#server-to-user-ann", FIRST, None);
    assert!(scene.directory.channels(0, "").is_empty());
    scene.directory.unwatch(&watched.channel, FIRST);
    scene.leave("#server-to-user-ann", FIRST, None);
    let is_empty = |shard: &Mutex<Shard>| shard.lock().expect("no panic").channels.is_empty();
    assert!(scene.directory.shards.iter().all(is_empty));
}

#[test]
fn s26_small_channels_are_told_each_number_and_large_ones_now_and_then() {
    let mut scene = Scene::new(10_000);
    scene.app.subscription_count = SubscriptionCount::On;
    let room = key("room");
    let count = |n: u32| server::subscription_count(&room.name, n);
    let start = Instant::now();
    let join = |scene: &Scene, at: Instant| {
        let joined = scene.directory.join(&scene.app, &room, FIRST, None, at);
        joined.expect("joined");
    };
    for n in 1..=100 {
        join(&scene, start);
        assert_eq!(frames(scene.waiting(FIRST)), [count(n)]);
    }
    // 101 to 150 in the first second: nothing until five are over, then the last number
    for _ in 101..=150 {
        join(&scene, start + Duration::from_secs(1));
    }
    assert!(scene.waiting(FIRST).is_empty());
    scene.directory.settle(start + Duration::from_millis(4_999));
    assert!(scene.waiting(FIRST).is_empty());
    scene.directory.settle(start + Duration::from_secs(5));
    assert_eq!(frames(scene.waiting(FIRST)), [count(150)]);
    // after a pause the next change is told at once
    join(&scene, start + Duration::from_secs(11));
    assert_eq!(frames(scene.waiting(FIRST)), [count(151)]);
    scene.directory.settle(start + Duration::from_secs(60));
    assert!(scene.waiting(FIRST).is_empty());
}

#[test]
fn s24_s27_which_channels_are_counted() {
    let mut scene = Scene::new(100);
    let mut check = |setting: SubscriptionCount, channel: &str, is_told: bool| {
        scene.app.subscription_count = setting;
        let user = channel.starts_with("presence-").then_some("ann");
        scene.join(channel, FIRST, user);
        assert_eq!(
            !scene.waiting(FIRST).is_empty(),
            is_told,
            "{setting:?} {channel}"
        );
        scene.leave(channel, FIRST, user);
        scene.waiting(FIRST);
    };
    check(SubscriptionCount::Off, "room", false);
    check(SubscriptionCount::On, "room", true);
    check(SubscriptionCount::On, "private-room", true);
    check(SubscriptionCount::On, "cache-room", true);
    check(SubscriptionCount::On, "presence-room", false);
    check(SubscriptionCount::On, "#server-to-user-ann", false);
    check(SubscriptionCount::On, "private-encrypted-room", true);
    check(
        SubscriptionCount::OnUnlessEncrypted,
        "private-encrypted-room",
        false,
    );
    check(SubscriptionCount::OnUnlessEncrypted, "room", true);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Joins and leaves of three channels on two workers, against a list of who is subscribed.
    #[test]
    fn counts_are_those_of_a_list_of_subscriptions(
        steps in vec((0..3_usize, 0..2_u16, 0..4_usize, any::<bool>()), 0..100),
    ) {
        const CHANNELS: [&str; 3] = ["room", "presence-a", "presence-b"];
        let mut scene = Scene::new(10_000);
        let mut subscriptions: Vec<(usize, u16, Option<String>)> = Vec::new();
        for (channel, worker, user, is_join) in steps {
            let user = (channel > 0).then(|| format!("user-{user}"));
            let subscription = (channel, worker, user.clone());
            let is_new = subscriptions.iter().all(|(other, ..)| *other != channel);
            let (name, id) = (CHANNELS[channel], WorkerId(worker));
            if is_join {
                let joined = scene.join(name, id, user.as_deref());
                prop_assert_eq!(joined.is_first, is_new);
                subscriptions.push(subscription);
            } else if let Some(at) = subscriptions.iter().position(|other| *other == subscription) {
                subscriptions.swap_remove(at);
                scene.leave(name, id, user.as_deref());
            }
            for (at, name) in CHANNELS.into_iter().enumerate() {
                let here: Vec<_> = subscriptions.iter().filter(|(other, ..)| *other == at).collect();
                let users: BTreeSet<_> = here.iter().filter_map(|(_, _, user)| user.clone()).collect();
                let occupancy = scene.directory.occupancy(&key(name));
                prop_assert_eq!(occupancy.subscription_count as usize, here.len());
                prop_assert_eq!(occupancy.user_count as usize, users.len());
            }
        }
        // An event goes to the workers that have subscribers, once each, and to no others.
        for worker in [FIRST, SECOND] {
            scene.waiting(worker);
        }
        for (at, name) in CHANNELS.into_iter().enumerate() {
            scene.publish(name, "x").expect("room");
            for worker in [FIRST, SECOND] {
                let is_there = |(channel, on, _): &(usize, u16, Option<String>)| {
                    *channel == at && WorkerId(*on) == worker
                };
                let expected = usize::from(subscriptions.iter().any(is_there));
                prop_assert_eq!(scene.waiting(worker).len(), expected);
            }
        }
        // Everyone leaves: nothing is left behind.
        for (channel, worker, user) in subscriptions {
            scene.leave(CHANNELS[channel], WorkerId(worker), user.as_deref());
        }
        prop_assert!(scene.directory.channels(0, "").is_empty());
    }
}

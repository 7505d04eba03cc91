//! Histories that went wrong once, step by step.

use super::*;

/// Between the last one who leaves a node and the next who joins there the channel may end and begin anew: another node is there.
#[test]
fn whoever_joins_a_channel_in_its_second_life_is_let_in() {
    for number in 0..CHANNELS {
        let mut world = World::new(0, 2, Faults::None);
        world.connect(0);
        world.connect(1);
        let first = world.join_channel(0, number);
        world.settle();
        world.leave(0, first);
        world.join_channel(0, number);
        world.redis_works(0);
        world.join_channel(1, number);
        for _ in 0..3 {
            world.redis_works(1);
            world.take_answer(1);
        }
        world.settle();
        world.check(0);
    }
}

/// Alone a node may count further than Redis has. Whoever joins there afterwards hears all the same who comes next.
#[test]
fn what_was_told_alone_to_those_who_left_hides_nothing_from_those_who_join() {
    for seed in 0..20 {
        let mut world = World::new(seed, 2, Faults::Cuts);
        world.connect(0);
        world.connect(1);
        world.join_channel(0, 0);
        let last = world.join_channel(1, 0);
        world.settle();
        // Redis hears of it, and its answer is lost
        world.leave(1, last);
        world.redis_works(1);
        world.cut(1);
        for _ in 0..10 {
            let ticket = world.join_channel(1, 0);
            world.leave(1, ticket);
        }
        world.connect(1);
        world.join_channel(1, 0);
        world.settle();
        for _ in 0..3 {
            world.join_channel(0, 0);
        }
        world.settle();
        world.check(seed);
    }
}

/// Whoever was lost is waited for also if the node that has named him has nobody there any more.
#[test]
fn who_does_not_come_back_leaves_though_nobody_is_left_who_named_him() {
    for seed in 0..20 {
        let mut world = World::new(seed, 3, Faults::All);
        world.connect(0);
        world.connect(1);
        let first = world.join_channel(0, 0);
        world.join_channel(1, 0);
        world.settle();
        world.empty(true);
        world.die(1);
        for at in [2, 0] {
            world.connect(at);
            if at == 2 {
                world.join_channel(2, 0);
            }
            world.work_off(&[0, 2]);
        }
        world.leave(0, first);
        world.work_off(&[0, 2]);
        world.settle();
        world.check(seed);
    }
}

/// The last one on a node has gone, and another comes while it is alone.
#[test]
fn who_joins_alone_where_nobody_was_is_not_told_that_those_elsewhere_leave() {
    for seed in 0..20 {
        let mut world = World::new(seed, 2, Faults::All);
        world.connect(0);
        world.connect(1);
        let stays = world.join_channel(0, 0);
        let last = world.join_channel(1, 0);
        world.settle();
        let user = world.nodes[0].sockets[&stays].user.clone();
        world
            .staying
            .insert((key(0), user.expect("a member's channel")));
        world.empty(false);
        world.leave(1, last);
        world.join_channel(1, 0);
        world.redis_works(1);
        world.take_answer(1);
        world.cut(1);
        world.connect(1);
        world.work_off(&[1]);
        world.settle();
        world.check(seed);
    }
}

/// Others of its batch are known by higher numbers when it is sent again.
#[test]
fn an_event_that_redis_refused_is_heard_once_by_everybody() {
    for is_empty in [false, true] {
        let mut world = World::new(0, 2, Faults::All);
        for at in [0, 1] {
            world.connect(at);
            world.join_channel(at, 0);
        }
        world.calm_down();
        let publish = |world: &mut World, count: u64| {
            for _ in 0..count {
                world.publish_to(0, 0);
            }
        };
        // the first goes out alone, the others together
        publish(&mut world, 4);
        world.redis_works(0);
        if is_empty {
            world.forget();
        } else {
            world.refused = 1;
        }
        world.take_answer(0);
        publish(&mut world, 1);
        for _ in 0..3 {
            world.redis_works(0);
            world.take_answer(0);
        }
        world.refused = 0;
        world.settle();
        for node in &world.nodes {
            for socket in node.sockets.values() {
                let seen = socket.seen.as_ref().expect("answered");
                let mut heard = seen.events[&0].clone();
                heard.sort_unstable();
                assert_eq!(heard, [1, 2, 3, 4, 5]);
            }
        }
    }
}

/// Redis may be emptied while its connections stay.
#[test]
fn a_join_finds_out_that_redis_has_forgotten_the_others() {
    for number in 0..CHANNELS {
        let mut world = World::new(0, 1, Faults::All);
        world.connect(0);
        world.join_channel(0, number);
        world.settle();
        world.forget();
        world.join_channel(0, number);
        world.settle();
        world.check(0);
    }
}

//! Random histories, each of its seed; `RESOUND_SIMULATION_SEEDS=0..20000` wants more of them than the tests have time for.

use super::*;

/// So many, unless the environment says otherwise: `RESOUND_SIMULATION_SEEDS=0..20000`.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let Ok(wanted) = std::env::var("RESOUND_SIMULATION_SEEDS") else {
        return 0..count;
    };
    let (from, to) = wanted.split_once("..").expect("two numbers");
    from.parse().expect("a number")..to.parse().expect("a number")
}

fn run(seed: u64, nodes: usize, steps: usize, faults: Faults) {
    World::new(seed, nodes, faults).run(steps);
}

impl World {
    fn run(mut self, steps: usize) {
        for at in 0..self.nodes.len() {
            self.connect(at);
        }
        for _ in 0..steps {
            self.step();
        }
        self.settle();
        self.check(self.seed);
    }

    fn step(&mut self) {
        let at = self.random.random_range(0..self.nodes.len());
        if !self.nodes[at].is_alive {
            return;
        }
        let is_up = self.nodes[at].core.is_up();
        match self.random.random_range(0..100) {
            0..12 => self.join(at),
            12..20 => self.part(at),
            20..30 => self.publish(at),
            30..55 => self.redis_works(at),
            55..75 => {
                self.take_answer(at);
            }
            75..95 => {
                self.take_message(at);
            }
            95 if self.faults != Faults::None && is_up => self.cut(at),
            96 | 97 if !is_up => self.connect(at),
            97 if is_up => self.notice(at),
            98 if self.faults == Faults::All && self.random.random_bool(0.2) => {
                self.lose_patience();
            }
            98 if matches!(self.faults, Faults::Deaths | Faults::All) => self.sweep(),
            99 if matches!(self.faults, Faults::Deaths | Faults::All)
                && self.random.random_bool(0.1) =>
            {
                self.disaster(at);
            }
            _ => self.claim(at),
        }
    }
}

#[test]
fn members_are_right_everywhere_in_any_order() {
    for seed in seeds(300) {
        run(seed, 3, 400, Faults::None);
    }
}

#[test]
fn everybody_is_let_in_though_some_messages_cannot_be_read() {
    for seed in seeds(300) {
        for faults in [Faults::None, Faults::All] {
            let mut world = World::new(seed, 3, faults);
            world.skips = true;
            world.run(300);
        }
    }
}

#[test]
fn no_event_is_lost_however_often_connections_break() {
    for seed in seeds(1_500) {
        run(seed, 4, 600, Faults::Cuts);
    }
}

#[test]
fn what_redis_has_forgotten_is_counted_as_missed() {
    for seed in seeds(1_500) {
        let mut world = World::new(seed, 4, Faults::Cuts);
        world.redis.remembered_max = Some(3);
        world.run(600);
    }
}

/// As it is for a node that comes late to a Redis that was emptied. With the last subscriber that it knows of it forgets all of a channel,
/// so that nobody leaves here.
#[test]
fn what_an_emptied_redis_has_forgotten_since_then_is_counted_as_missed() {
    for seed in seeds(1_500) {
        let mut world = World::new(seed, 4, Faults::Cuts);
        world.redis.remembered_max = Some(3);
        for at in 0..4 {
            world.connect(at);
        }
        for _ in 0..200 {
            world.step();
        }
        world.settle();
        world.empty(true);
        for _ in 0..400 {
            let at = world.random.random_range(0..4);
            let is_up = world.nodes[at].core.is_up();
            match world.random.random_range(0..40) {
                0..4 => world.join(at),
                4..10 => world.publish(at),
                10 if is_up => world.cut(at),
                11 if !is_up => world.connect(at),
                12..20 => world.redis_works(at),
                20..28 => world.take_answer(at),
                _ => world.take_message(at),
            }
        }
        world.settle();
        world.check_events(seed);
    }
}

#[test]
fn everything_that_happens_is_told_whichever_nodes_die() {
    for seed in seeds(1_500) {
        run(seed, 4, 600, Faults::Deaths);
    }
}

#[test]
fn members_are_right_everywhere_after_any_faults() {
    for seed in seeds(1_500) {
        run(seed, 4, 600, Faults::All);
    }
}

/// Redis loses everything while nodes have subscribers: whoever stays isn't told to leave, and webhooks aren't told anything twice.
fn lose_everything(seed: u64) {
    let mut world = World::new(seed, 3, Faults::Cuts);
    for at in 0..3 {
        world.connect(at);
    }
    for _ in 0..60 {
        let at = world.random.random_range(0..3);
        world.join(at);
    }
    world.settle();
    world.check(seed);
    world.check_all_webhooks(seed);
    // one user in two stays on each channel
    for number in 0..CHANNELS {
        for user in 0..USERS / 2 {
            let user: Arc<str> = user.to_string().into();
            world.staying.insert((key(number), user));
        }
    }
    let cuts = world.random.random_bool(0.7);
    world.empty(cuts);
    for _ in 0..world.random.random_range(0..40) {
        let at = world.random.random_range(0..3);
        match world.random.random_range(0..10) {
            0..3 => world.join(at),
            3..6 => world.part(at),
            6 => world.publish(at),
            7 => world.notice(at),
            8 if cuts && !world.nodes[at].core.is_up() => world.connect(at),
            _ => {
                world.redis_works(at);
                world.take_message(at);
                world.take_answer(at);
            }
        }
    }
    world.calm_down();
    for _ in 0..100 {
        world.step();
    }
    world.settle();
    // events that Redis remembered are lost with it
    world.faults = Faults::All;
    world.check(seed);
}

#[test]
fn who_stays_is_not_told_to_leave_when_redis_loses_everything() {
    for seed in seeds(1_500) {
        lose_everything(seed);
    }
}

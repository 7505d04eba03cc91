//! Free ports on which a server can be started again after it was stopped: nobody is given them by chance.
use std::{
    net::TcpListener,
    ops::Range,
    sync::{LazyLock, Mutex},
};

use rand::seq::SliceRandom;

/// Below those that systems hand out (from 32768, or 49152), and so that 10,000 more, where a node of a Redis Cluster listens
/// to its likes, is below them, too.
const PORTS: Range<u16> = 10_240..20_000;
const BUS: u16 = 10_000;

/// Runs side by side on one machine have a block each: the port of a server that is stopped looks free to others.
const BLOCK: u16 = 1_220;

static OURS: LazyLock<Mutex<Block>> = LazyLock::new(|| Mutex::new(Block::take()));

/// A port that nobody listens on, and that no other test is given.
pub fn free_port() -> u16 {
    let ours = OURS.lock();
    let mut ours = ours.unwrap_or_else(|poisoned| poisoned.into_inner());
    std::iter::from_fn(|| ours.left.pop())
        .find(|port| is_free(*port) && is_free(port + BUS))
        .expect("a free port is left for this run")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

struct Block {
    left: Vec<u16>,
    /// on its first port: so others see that it is taken, until this process has ended
    _sign: TcpListener,
}

impl Block {
    fn take() -> Block {
        let mut blocks = PORTS.step_by(usize::from(BLOCK));
        let (first, sign) = blocks
            .find_map(|first| Some((first, TcpListener::bind(("127.0.0.1", first)).ok()?)))
            .expect("a block of ports is left: fewer runs than eight at once");
        let mut left: Vec<u16> = (first + 1..first + BLOCK).collect();
        left.shuffle(&mut rand::rng());
        Block { left, _sign: sign }
    }
}

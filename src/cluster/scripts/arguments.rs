//! What scripts are given.

use std::time::Duration;

use super::milliseconds;
use crate::cluster::{
    keys::ChannelKeys,
    terms::{Kept, Wanted},
};

/// Which channel, and for which node.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    pub keys: &'a ChannelKeys,
    pub node: &'a str,
}

/// What is remembered of each channel, for nodes whose connection to Redis was away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// 0 = nothing
    pub events_max: u32,
    /// from the last event on
    pub age_max: Duration,
}

impl History {
    pub const NONE: History = History {
        events_max: 0,
        age_max: Duration::ZERO,
    };

    pub(super) fn age_ms(self) -> u64 {
        milliseconds(self.age_max)
    }
}

/// An event as the script is given it.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// as in [`wire`](crate::cluster::wire)
    pub kind: &'a str,
    /// of [`event_head`](crate::cluster::wire::event_head)
    pub head: &'a str,
    pub body: &'a [u8],
    /// for how long a cache channel keeps it; 0 = not
    pub cached_ms: u64,
    /// it has waited while Redis was away
    pub is_late: bool,
}

/// What comes of a call for those who want to know what happens: it is written down until it is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct News<'a> {
    /// `NODE.NUMBER`, which no other news ever have; empty = nobody wants to know
    pub name: &'a str,
    pub remembered_ms: u64,
    /// the news that somebody left wait for a return
    pub is_held: bool,
}

/// Who a subscription on a presence channel is.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    pub user_id: &'a str,
    /// what the others are told of it, and what is kept
    pub text: &'a str,
}

/// A subscription that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Joining<'a> {
    /// on a presence channel
    pub member: Option<Member<'a>>,
    /// 0 = no limit
    pub members_max: u32,
    pub tell_count: bool,
    pub wanted: Wanted,
}

/// What a channel looks like to a node that registers what it has; by default it has nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Holding<'a> {
    pub subscriptions: u32,
    /// the highest sequence that subscribers of the node were given
    pub seen: u64,
    /// everything up to this sequence was heard, and so many events; 0 = nothing
    pub heard: (u64, u64),
    /// the life of the channel that the node knows; 0 = none
    pub life: u64,
    pub members: &'a [Present<'a>],
    /// who was there, if Redis is known to have lost the channel
    pub lost: Option<Lost<'a>>,
}

/// Somebody with connections to the node.
#[derive(Clone, Copy, Debug)]
pub struct Present<'a> {
    pub member: Member<'a>,
    pub connections: u32,
    /// said something else of itself while Redis was away: nobody else knows better
    pub is_latest: bool,
}

/// What Redis had of a channel, as far as a node knows.
#[derive(Clone, Copy, Debug)]
pub struct Lost<'a> {
    pub members: &'a [Member<'a>],
    pub count: Option<u32>,
    pub cached: Option<&'a Kept>,
}

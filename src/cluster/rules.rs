//! What else is to be done when somebody comes to a channel or goes: whether the others are told how many they are, and whether
//! the news of who left waits for a return.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use crate::{
    apps::App, config::Settings, directory::is_counted, protocol::channel::ChannelName,
    webhook::Webhooks,
};

/// For one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// subscribers and webhooks are told how many subscriptions there are (S-24)
    pub tell_count: bool,
    /// somebody wants to know who comes and goes: what happens is written down in Redis until it is told
    pub is_told: bool,
    /// the news that somebody left or that the channel is vacated waits this long, and is cancelled by a return (W-11, U-23)
    pub hold: Option<Duration>,
    /// somebody may want to know whether the user whose channel it is is there (U-22)
    pub is_watched: bool,
}

/// Where the rules come from: the settings in force.
#[derive(Clone)]
pub struct Rulebook {
    pub settings: Arc<ArcSwap<Settings>>,
    pub webhooks: Webhooks,
}

impl Rulebook {
    pub fn rules(&self, app: &App, channel: &ChannelName) -> Rules {
        let hold = self.hold(app, channel);
        Rules {
            tell_count: is_counted(app, channel),
            is_watched: is_watched(app, channel),
            is_told: hold.is_some(),
            hold: hold.filter(|hold| !hold.is_zero()),
        }
    }

    /// `None`: nobody wants to know.
    fn hold(&self, app: &App, channel: &ChannelName) -> Option<Duration> {
        if is_watched(app, channel) {
            return Some(app.users.watchlist_grace);
        }
        if channel.is_internal() || !self.webhooks.is_wanted(app) {
            return None;
        }
        Some(self.settings.load().webhook.removal_delay)
    }
}

fn is_watched(app: &App, channel: &ChannelName) -> bool {
    app.users.watchlist && channel.user_id().is_some()
}

//! Where an app's webhooks go: an endpoint with its headers and filters (W-13). Delivering is `webhook`'s business.
use super::address::is_public;
use crate::protocol::channel::ChannelName;
use reqwest::{Url, header::HeaderMap};
use std::{fmt, net::IpAddr};

/// What a webhook can tell (W-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EventType {
    ChannelOccupied,
    ChannelVacated,
    MemberAdded,
    MemberRemoved,
    ClientEvent,
    CacheMiss,
    SubscriptionCount,
}

impl EventType {
    pub const ALL: [EventType; 7] = [
        EventType::ChannelOccupied,
        EventType::ChannelVacated,
        EventType::MemberAdded,
        EventType::MemberRemoved,
        EventType::ClientEvent,
        EventType::CacheMiss,
        EventType::SubscriptionCount,
    ];

    /// As bodies and the configuration write it.
    pub const fn name(self) -> &'static str {
        match self {
            EventType::ChannelOccupied => "channel_occupied",
            EventType::ChannelVacated => "channel_vacated",
            EventType::MemberAdded => "member_added",
            EventType::MemberRemoved => "member_removed",
            EventType::ClientEvent => "client_event",
            EventType::CacheMiss => "cache_miss",
            EventType::SubscriptionCount => "subscription_count",
        }
    }

    pub fn parse(name: &str) -> Option<EventType> {
        EventType::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The type that can cancel this one, or be cancelled by it (W-11).
    const fn opposite(self) -> EventType {
        match self {
            EventType::ChannelOccupied => EventType::ChannelVacated,
            EventType::ChannelVacated => EventType::ChannelOccupied,
            EventType::MemberAdded => EventType::MemberRemoved,
            EventType::MemberRemoved => EventType::MemberAdded,
            other => other,
        }
    }
}

/// Types of events that an endpoint wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTypes(u8);

impl EventTypes {
    /// No types named means all of them.
    pub fn of(types: &[EventType]) -> EventTypes {
        let types = if types.is_empty() {
            &EventType::ALL
        } else {
            types
        };
        EventTypes(types.iter().fold(0, |bits, &kind| bits | bit(kind)))
    }

    pub fn contains(self, kind: EventType) -> bool {
        self.0 & bit(kind) != 0
    }
}

const fn bit(kind: EventType) -> u8 {
    1 << kind as u8
}

/// One endpoint of an app. `Debug` shows neither headers nor the secret parts of the URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// http or https, with a host
    pub url: Url,
    /// sent besides our own (W-2)
    pub headers: HeaderMap,
    pub event_types: EventTypes,
    /// empty = every channel
    pub channel_name_starts_with: String,
    pub channel_name_ends_with: String,
}

impl Webhook {
    /// Whether the endpoint is to be told of an event (W-13). User channels never appear (7.2).
    pub fn takes(&self, kind: EventType, channel: &ChannelName) -> bool {
        self.event_types.contains(kind) && self.takes_channel(channel)
    }

    /// Whether the event matters to the endpoint: because it takes it, or because it takes what the event cancels.
    pub fn concerns(&self, kind: EventType, channel: &ChannelName) -> bool {
        let types = self.event_types;
        (types.contains(kind) || types.contains(kind.opposite())) && self.takes_channel(channel)
    }

    fn takes_channel(&self, channel: &ChannelName) -> bool {
        let name = channel.as_str();
        channel.user_id().is_none()
            && name.starts_with(&self.channel_name_starts_with)
            && name.ends_with(&self.channel_name_ends_with)
    }

    /// The URL for logs and listings: without user, password and query, which may be secret.
    pub fn shown_url(&self) -> String {
        shown_url(&self.url)
    }

    /// Whether the host is written as an address that isn't public, or as a name that always means this machine.
    pub fn names_private_host(&self) -> bool {
        let Some(host) = self.url.host_str() else {
            return true;
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return !is_public(address);
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || name.ends_with(".localhost")
    }
}

/// See [`Webhook::shown_url`].
pub fn shown_url(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}"));
    format!(
        "{}://{host}{}{}",
        url.scheme(),
        port.unwrap_or_default(),
        url.path()
    )
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("url", &self.shown_url())
            .field("event_types", &self.event_types)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(url: &str) -> Webhook {
        Webhook {
            url: url.parse().expect(url),
            headers: HeaderMap::new(),
            event_types: EventTypes::of(&[]),
            channel_name_starts_with: String::new(),
            channel_name_ends_with: String::new(),
        }
    }

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name, 200).expect(name)
    }

    #[test]
    fn w5_names_of_event_types() {
        for kind in EventType::ALL {
            assert_eq!(EventType::parse(kind.name()), Some(kind));
        }
        for name in ["", "Channel_Occupied", "channel_occupied ", "member"] {
            assert_eq!(EventType::parse(name), None, "{name}");
        }
    }

    #[test]
    fn w13_types_and_names_are_filtered() {
        let check = |types: &[EventType], start: &str, end: &str, name: &str, taken: bool| {
            let mut webhook = webhook("https://example.com");
            webhook.event_types = EventTypes::of(types);
            webhook.channel_name_starts_with = start.to_owned();
            webhook.channel_name_ends_with = end.to_owned();
            let takes = webhook.takes(EventType::CacheMiss, &channel(name));
            assert_eq!(takes, taken, "{types:?} {start}…{end} {name}");
        };
        check(&[], "", "", "room", true);
        check(&[EventType::CacheMiss], "", "", "room", true);
        check(&[EventType::ClientEvent], "", "", "room", false);
        check(&[], "cache-", "", "cache-1", true);
        check(&[], "cache-", "", "private-cache-1", false);
        check(&[], "", "-1", "cache-1", true);
        check(&[], "", "-1", "cache-12", false);
        check(&[], "a", "b", "axb", true);
        check(&[], "a", "b", "ax", false);
        // both may match the same characters, as in soketi
        check(&[], "ab", "bc", "abc", true);
        check(&[], "", "", "#server-to-user-7", false);
    }

    #[test]
    fn w11_what_cancels_a_wanted_event_matters_too() {
        let check = |wanted: EventType, kind: EventType, concerns: bool| {
            let mut webhook = webhook("https://example.com");
            webhook.event_types = EventTypes::of(&[wanted]);
            let found = webhook.concerns(kind, &channel("room"));
            assert_eq!(found, concerns, "{wanted:?} {kind:?}");
        };
        for wanted in EventType::ALL {
            for kind in EventType::ALL {
                check(wanted, kind, kind == wanted || kind == wanted.opposite());
            }
        }
        assert!(
            !webhook("https://example.com")
                .concerns(EventType::ChannelOccupied, &channel("#server-to-user-7"))
        );
    }

    #[test]
    fn urls_are_shown_without_their_secrets() {
        let check = |url: &str, shown: &str| {
            assert_eq!(webhook(url).shown_url(), shown);
            assert!(!format!("{:?}", webhook(url)).contains("hush"));
        };
        check(
            "https://me:hush@example.com:8443/hook?token=hush#hush",
            "https://example.com:8443/hook",
        );
        check("http://[2606:4700::1]", "http://[2606:4700::1]/");
    }

    #[test]
    fn hosts_that_can_only_be_private() {
        let check = |url: &str, private: bool| {
            assert_eq!(webhook(url).names_private_host(), private, "{url}");
        };
        check("http://127.0.0.1:8000/", true);
        check("http://0x7f.1/", true);
        check("http://2130706433/", true);
        check("http://[::1]/", true);
        check("http://[::ffff:10.0.0.1]/", true);
        check("http://169.254.169.254/latest", true);
        check("http://LocalHost/", true);
        check("http://localhost./", true);
        check("http://app.localhost/", true);
        check("http://8.8.8.8/", false);
        check("http://[2606:4700::1]/", false);
        check("http://example.com/", false);
        check("http://localhost.example.com/", false);
    }
}

//! What `info` can ask about channels (H-26, H-29, H-30), and the JSON that answers it.
use crate::{
    node::{Cached, Occupancy},
    protocol::channel::{ChannelKind, ChannelName},
};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// The attributes that a request names. Unknown names are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    pub user_count: bool,
    pub subscription_count: bool,
    pub cache: bool,
}

impl Attributes {
    /// From `user_count,subscription_count`.
    pub fn parse(list: &str) -> Attributes {
        let mut attributes = Attributes::default();
        for name in list.split(',') {
            match name.trim() {
                "user_count" => attributes.user_count = true,
                "subscription_count" => attributes.subscription_count = true,
                "cache" => attributes.cache = true,
                _ => {}
            }
        }
        attributes
    }

    /// Nothing at all asked for, so that the answer can be `{}`. An unknown name alone counts as nothing.
    pub fn is_empty(self) -> bool {
        self == Attributes::default()
    }
}

/// One channel's attributes; what is `None` isn't written.
#[derive(Debug, Default, Serialize)]
pub struct ChannelInfo<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occupied: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_count: Option<u32>,
    /// `Some(None)` = asked for, but nothing is cached: `null`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Option<CachedInfo<'a>>>,
}

/// H-31
#[derive(Debug, Serialize)]
pub struct CachedInfo<'a> {
    data: &'a RawValue,
    ttl: u64,
}

impl ChannelInfo<'static> {
    /// The counts asked for, without those that don't apply to the kind (H-26). The cache isn't among them.
    pub fn applicable(
        asked: Attributes,
        kind: ChannelKind,
        occupancy: Occupancy,
    ) -> ChannelInfo<'static> {
        ChannelInfo {
            user_count: (asked.user_count && kind.is_presence()).then_some(occupancy.user_count),
            subscription_count: asked
                .subscription_count
                .then_some(occupancy.subscription_count),
            ..ChannelInfo::default()
        }
    }
}

impl<'a> CachedInfo<'a> {
    pub fn new(cached: &'a Cached) -> Option<CachedInfo<'a>> {
        // as_json is a JSON string token, so this always succeeds
        let data = serde_json::from_str(cached.data.as_json()).ok()?;
        Some(CachedInfo {
            data,
            ttl: cached.ttl_s,
        })
    }
}

/// `{"channels":{"NAME":{…}}}`, an object even when empty (H-18).
#[derive(Serialize)]
pub struct ChannelInfos<'a> {
    #[serde(serialize_with = "as_map")]
    pub channels: Vec<(&'a ChannelName, ChannelInfo<'a>)>,
}

fn as_map<S: Serializer>(
    channels: &[(&ChannelName, ChannelInfo<'_>)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(channels.iter().map(|(name, info)| (name.as_str(), info)))
}

impl ChannelInfos<'_> {
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

/// JSON text of an answer. Our own types have nothing in them that could fail to serialise.
pub fn to_json(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).expect("answers have string keys and no failing serialisers")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::event::EventData;

    fn attributes(user_count: bool, subscription_count: bool, cache: bool) -> Attributes {
        Attributes {
            user_count,
            subscription_count,
            cache,
        }
    }

    #[test]
    fn h26_attributes() {
        for (list, expected) in [
            ("", attributes(false, false, false)),
            ("user_count", attributes(true, false, false)),
            (
                "user_count,subscription_count",
                attributes(true, true, false),
            ),
            (" cache , user_count ", attributes(true, false, true)),
            (",,unknown,USER_COUNT,", attributes(false, false, false)),
        ] {
            assert_eq!(Attributes::parse(list), expected, "{list}");
        }
    }

    #[test]
    fn h26_what_does_not_apply_is_left_out() {
        let occupancy = Occupancy {
            subscription_count: 51,
            user_count: 42,
        };
        let all = attributes(true, true, true);
        let presence = ChannelName::parse("presence-foobar", 200).unwrap();
        let public = ChannelName::parse("another", 200).unwrap();
        let infos = ChannelInfos {
            channels: [&presence, &public]
                .map(|name| (name, ChannelInfo::applicable(all, name.kind(), occupancy)))
                .into(),
        };
        assert_eq!(
            infos.to_json(),
            r#"{"channels":{"presence-foobar":{"user_count":42,"subscription_count":51},"another":{"subscription_count":51}}}"#
        );
    }

    #[test]
    fn h18_no_channels_are_an_empty_object() {
        let infos = ChannelInfos { channels: vec![] };
        assert_eq!(infos.to_json(), r#"{"channels":{}}"#);
    }

    #[test]
    fn h30_h31_one_channel() {
        let cached = Cached {
            data: EventData::from_text("event \"data\""),
            ttl_s: 60,
        };
        let info = ChannelInfo {
            occupied: Some(true),
            user_count: Some(42),
            subscription_count: Some(42),
            cache: Some(CachedInfo::new(&cached)),
        };
        assert_eq!(
            to_json(&info),
            r#"{"occupied":true,"user_count":42,"subscription_count":42,"cache":{"data":"event \"data\"","ttl":60}}"#
        );
        let nothing_cached = ChannelInfo {
            occupied: Some(false),
            cache: Some(None),
            ..ChannelInfo::default()
        };
        assert_eq!(
            to_json(&nothing_cached),
            r#"{"occupied":false,"cache":null}"#
        );
    }
}

//! Which events a listener wants: the filters of `/stream` and `resound tail --admin`.

use std::borrow::Cow;

use super::{Event, Kind};

/// Which events a listener wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    app: Option<String>,
    /// a name, or its beginning and `*`
    channel: Option<String>,
    socket_id: Option<String>,
    /// empty = all
    kinds: Vec<Kind>,
    /// the share of events that is told, in 0..=1
    pub(super) sample: f64,
    pub with_data: bool,
}

impl Default for Filter {
    fn default() -> Filter {
        Filter {
            app: None,
            channel: None,
            socket_id: None,
            kinds: Vec::new(),
            sample: 1.0,
            with_data: false,
        }
    }
}

/// What was wrong with a filter, as a sentence.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidFilter(String);

impl Filter {
    /// A filter from the pairs of a query. `token` is for others to check; empty values don't filter.
    pub fn parse<'a>(
        pairs: impl IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> Result<Filter, InvalidFilter> {
        let mut filter = Filter::default();
        for (key, value) in pairs {
            let text = || Some(value.to_string()).filter(|text| !text.is_empty());
            match &*key {
                "app" => filter.app = text(),
                "channel" => filter.channel = text(),
                "socket" | "socket_id" => filter.socket_id = text(),
                "kind" => filter.kinds = kinds(&value)?,
                "sample" => filter.sample = share(&value)?,
                "data" => filter.with_data = !["", "0", "false"].contains(&&*value),
                "token" => {}
                other => {
                    let shown: String = other.chars().take(40).collect();
                    return Err(InvalidFilter(format!(
                        "Unknown filter {shown:?}: there are app, channel, socket, kind, sample and data"
                    )));
                }
            }
        }
        Ok(filter)
    }

    pub(super) fn takes(&self, event: &Event) -> bool {
        let is = |wanted: &Option<String>, given: &Option<String>| {
            wanted.is_none() || wanted.as_deref() == given.as_deref()
        };
        (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && is(&self.app, &event.app)
            && is(&self.socket_id, &event.socket_id)
            && self.takes_channel(event.channel.as_deref())
    }

    fn takes_channel(&self, channel: Option<&str>) -> bool {
        let Some(wanted) = &self.channel else {
            return true;
        };
        match (wanted.strip_suffix('*'), channel) {
            (Some(start), Some(channel)) => channel.starts_with(start),
            (None, Some(channel)) => channel == wanted,
            (_, None) => false,
        }
    }
}

fn kinds(text: &str) -> Result<Vec<Kind>, InvalidFilter> {
    let names = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let kind = |name: &str| {
        let known = Kind::ALL.iter().find(|(known, _)| *known == name);
        known.map(|(_, kind)| *kind).ok_or_else(|| {
            let all: Vec<&str> = Kind::ALL.iter().map(|(name, _)| *name).collect();
            let shown: String = name.chars().take(40).collect();
            InvalidFilter(format!(
                "Unknown kind {shown:?}: there are {}",
                all.join(", ")
            ))
        })
    };
    names.map(kind).collect()
}

fn share(text: &str) -> Result<f64, InvalidFilter> {
    let share = text.parse().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| InvalidFilter("sample must be a share from 0 to 1, such as 0.1".to_owned()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::{super::event::tests::event, *};

    pub fn filter(query: &str) -> Result<Filter, InvalidFilter> {
        Filter::parse(form_urlencoded::parse(query.as_bytes()))
    }

    #[test]
    fn filters_take_what_they_name() {
        let check = |query: &str, event: &Event, taken: bool| {
            let filter = filter(query).expect(query);
            assert_eq!(filter.takes(event), taken, "{query} {event:?}");
        };
        let published = event(Kind::Published, "3", "private-orders.7");
        for query in [
            "",
            "app=3",
            "app=",
            "channel=private-orders.7",
            "channel=private-*",
            "channel=*",
            "socket=1.1",
            "socket_id=1.1",
            "kind=published",
            "kind=refused,%20published",
            "app=3&channel=p*&kind=published&token=x&sample=0",
        ] {
            check(query, &published, true);
        }
        for query in [
            "app=33",
            "channel=private-orders",
            "channel=public-*",
            "channel=private-orders.7**",
            "socket=1.2",
            "kind=refused",
        ] {
            check(query, &published, false);
        }
        let refused = event(Kind::Refused, "3", "");
        check("channel=*", &refused, false);
        check("kind=refused", &refused, true);
    }

    #[test]
    fn filters_that_make_no_sense_are_named() {
        for (query, part) in [
            ("kind=publish", "there are connected, "),
            ("sample=2", "from 0 to 1"),
            ("sample=NaN", "from 0 to 1"),
            ("sample=", "from 0 to 1"),
            ("chanel=a", "there are app, channel"),
        ] {
            let sentence = filter(query).expect_err(query).to_string();
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}

//! `POST /apps/{id}/events`: one event to one or many channels (H-1, H-20 to H-26). The rules for a single event are here;
//! batches and the legacy endpoint use them too.
use super::{
    EMPTY,
    error::ApiError,
    info::{Attributes, ChannelInfo, ChannelInfos},
    once,
    signed::Signed,
};
use crate::{
    apps::{App, AppLimits},
    cluster::Taken,
    node::{Congested, Event, Node},
    protocol::{
        channel::ChannelName, event::EventData, json::string, request::Query, socket_id::SocketId,
    },
};
use actix_web::{HttpResponse, web};
use rustc_hash::FxHashSet;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{borrow::Cow, sync::Arc};

/// An event that may be published: all its parts keep the protocol's rules.
#[derive(Debug)]
pub struct Message<'a> {
    pub name: Cow<'a, str>,
    pub data: EventData<'a>,
    pub except: Option<SocketId>,
    pub info: Attributes,
}

/// The members of an event's JSON object. Values stay raw, so `data` is never decoded and encoded again (S-28). `null` counts
/// as absent.
#[derive(Debug, Default, Deserialize)]
pub struct Fields<'a> {
    #[serde(borrow, default)]
    pub name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub channels: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub channel: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub socket_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub idempotency_key: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    /// `json` has passed [`Signed::json`]; without a body every field may be in the query.
    pub(super) fn read(json: Option<&'a str>) -> Result<Fields<'a>, ApiError> {
        json.map_or_else(|| Ok(Fields::default()), object)
    }
}

pub async fn trigger(node: web::Data<Node>, signed: Signed) -> Result<HttpResponse, ApiError> {
    let fields = Fields::read(signed.json()?)?;
    let (message, channels) = parse(&fields, &signed.query, &signed.app.limits)?;
    signed.take_events(&node, channels.len())?;
    let key = once::key(&signed, fields.idempotency_key)?;
    let app = &signed.app;
    once::once(
        &node,
        &signed,
        key,
        &channels,
        async |channel| publish(&node, app, channel, &message).await,
        async || answer(&node, app, &message, &channels).await,
    )
    .await
}

/// The attributes that were asked for, or `{}` (H-23, H-26).
async fn answer(
    node: &Node,
    app: &App,
    message: &Message<'_>,
    channels: &[ChannelName],
) -> Cow<'static, str> {
    if message.info.is_empty() {
        return EMPTY.into();
    }
    let found = node.occupancy(app, channels.iter()).await;
    let infos = channels
        .iter()
        .zip(found)
        .map(|(channel, occupancy)| {
            let info = ChannelInfo::applicable(message.info, channel.kind(), occupancy);
            (channel, info)
        })
        .collect();
    ChannelInfos { channels: infos }.to_json().into()
}

/// As [`Node::publish`].
pub async fn publish(
    node: &Node,
    app: &Arc<App>,
    channel: &ChannelName,
    message: &Message<'_>,
) -> Result<Option<Taken>, Congested> {
    let event = Event {
        name: &message.name,
        data: &message.data,
        except: message.except,
    };
    node.publish(app, channel, event).await
}

/// Body and query of a trigger (the body wins), as far as they keep the rules of H-20.
pub(super) fn parse<'a>(
    fields: &Fields<'a>,
    query: &'a Query,
    limits: &AppLimits,
) -> Result<(Message<'a>, Vec<ChannelName>), ApiError> {
    let message = Message::parse(fields, Some(query), limits)?;
    let channels = channels(fields, query, limits)?;
    Ok((message, channels))
}

impl<'a> Message<'a> {
    /// Checks all but the channels, in the order of H-21. Fields that `fields` lacks are looked up in `query`.
    pub fn parse(
        fields: &Fields<'a>,
        query: Option<&'a Query>,
        limits: &AppLimits,
    ) -> Result<Message<'a>, ApiError> {
        let from_query = |key| query.and_then(|query| query.get(key));

        let name = match fields.name {
            Some(raw) => string(raw).ok_or(ApiError::NameNotString)?,
            None => Cow::Borrowed(from_query("name").ok_or(ApiError::NameNotString)?),
        };
        check_name(&name, limits)?;
        let data = match fields.data {
            Some(raw) => EventData::from_json(raw),
            None => EventData::from_text(from_query("data").ok_or(ApiError::Missing("data"))?),
        };
        check_data(&data, limits)?;
        let except = match (fields.socket_id, from_query("socket_id")) {
            (Some(raw), _) => Some(socket_id_in_json(raw)?),
            (None, text) => text.map(socket_id).transpose()?,
        };
        let info = match fields.info {
            Some(raw) => Attributes::parse(&string(raw).ok_or(ApiError::InfoNotString)?),
            None => Attributes::parse(from_query("info").unwrap_or_default()),
        };
        Ok(Message {
            name,
            data,
            except,
            info,
        })
    }
}

pub fn check_name(name: &str, limits: &AppLimits) -> Result<(), ApiError> {
    let chars_max = limits.event_name_chars_max;
    if name.is_empty() {
        Err(ApiError::NameEmpty)
    } else if name.len() > chars_max && name.chars().nth(chars_max).is_some() {
        Err(ApiError::NameTooLong(chars_max))
    } else if name.starts_with("pusher:") || name.starts_with("pusher_internal:") {
        Err(ApiError::NameReserved)
    } else {
        Ok(())
    }
}

pub fn check_data(data: &EventData<'_>, limits: &AppLimits) -> Result<(), ApiError> {
    if data.len_bytes() > limits.event_data_bytes_max {
        return Err(ApiError::DataTooLarge(limits.event_data_bytes_max));
    }
    Ok(())
}

pub fn socket_id(text: &str) -> Result<SocketId, ApiError> {
    SocketId::parse(text).map_err(|_| ApiError::InvalidSocketId(text.to_owned()))
}

/// A number is refused even when it looks like a socket id: its text depends on who wrote it.
fn socket_id_in_json(raw: &RawValue) -> Result<SocketId, ApiError> {
    match string(raw) {
        Some(text) => socket_id(&text),
        None => Err(ApiError::InvalidSocketId(raw.get().to_owned())),
    }
}

pub fn channel_name(name: &str, limits: &AppLimits) -> Result<ChannelName, ApiError> {
    ChannelName::parse(name, limits.channel_name_chars_max)
        .map_err(|_| ApiError::InvalidChannelName(name.to_owned()))
}

/// The channels of a trigger, each once (H-22), in the order given. `channels` wins over `channel`, the body over the query.
fn channels(
    fields: &Fields<'_>,
    query: &Query,
    limits: &AppLimits,
) -> Result<Vec<ChannelName>, ApiError> {
    const MISSING: ApiError = ApiError::Missing("channels");
    let names: Vec<Cow<'_, str>> = match (fields.channels, fields.channel) {
        (Some(raw), _) => strings(raw).ok_or(MISSING)?,
        (None, Some(raw)) => vec![string(raw).ok_or(MISSING)?],
        (None, None) => channels_in_query(query),
    };
    if names.is_empty() {
        return Err(MISSING);
    }
    if names.len() > limits.channels_per_event_max {
        return Err(ApiError::TooManyChannels(limits.channels_per_event_max));
    }
    let mut channels = names
        .iter()
        .map(|name| channel_name(name, limits))
        .collect::<Result<Vec<_>, _>>()?;
    if channels.len() > 1 {
        let mut seen = FxHashSet::default();
        channels.retain(|channel| seen.insert(channel.clone()));
    }
    Ok(channels)
}

fn channels_in_query(query: &Query) -> Vec<Cow<'_, str>> {
    let mut names = query.get_all("channels");
    if names.is_empty() {
        names.extend(query.get("channel"));
    }
    names.into_iter().map(Cow::Borrowed).collect()
}

/// An object's known members.
///
/// # Errors
/// `InvalidJson` when the value isn't an object, or names a member twice.
pub fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, ApiError> {
    // serde would take an array as well, its elements in the order of the fields
    if !json.trim_ascii_start().starts_with('{') {
        return Err(ApiError::InvalidJson("expected an object".to_owned()));
    }
    serde_json::from_str(json).map_err(|error| ApiError::InvalidJson(error.to_string()))
}

/// An array's strings; `None` when it isn't an array or holds anything else.
fn strings(raw: &RawValue) -> Option<Vec<Cow<'_, str>>> {
    let entries: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
    entries.into_iter().map(string).collect()
}

#[cfg(test)]
pub mod tests;

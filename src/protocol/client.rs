//! ClientMessage: everything a client can say. Parsed here once; what it leads to is decided in `session`.

use super::{codes::ClientError, event::EventData, json};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A message that has the form of what it wants to be (C-23). Names are as sent: not yet checked.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientMessage<'a> {
    Subscribe(SubscribeRequest<'a>),
    Unsubscribe { channel: Cow<'a, str> },
    ClientEvent(ClientEvent<'a>),
    Signin(SigninRequest<'a>),
    Ping,
    Pong,
}

/// `pusher:subscribe` (S-9)
#[derive(Debug, PartialEq, Eq)]
pub struct SubscribeRequest<'a> {
    pub channel: Cow<'a, str>,
    /// `None` when absent, null, empty or not a string (S-8: ignored on public channels whatever its type)
    pub auth: Option<Cow<'a, str>>,
    pub channel_data: ChannelData<'a>,
}

/// `pusher:signin` (U-1)
#[derive(Debug, PartialEq, Eq)]
pub struct SigninRequest<'a> {
    pub auth: Cow<'a, str>,
    pub user_data: Cow<'a, str>,
}

/// The `channel_data` of a subscription, as received.
#[derive(Debug, PartialEq, Eq)]
pub enum ChannelData<'a> {
    /// absent, null or "" (S-7)
    Absent,
    Text(Cow<'a, str>),
    /// present but no string: S-17 on presence channels (S-9)
    NotText,
}

/// `client-*` (E-1)
#[derive(Debug, PartialEq, Eq)]
pub struct ClientEvent<'a> {
    pub name: Cow<'a, str>,
    pub channel: Cow<'a, str>,
    pub data: EventData<'a>,
}

/// The members of a message that mean something; all others are ignored (C-23, E-9).
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    channel: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// The `data` of `pusher:subscribe` and `pusher:unsubscribe`.
#[derive(Deserialize)]
struct ChannelFields<'a> {
    #[serde(borrow)]
    channel: Option<&'a RawValue>,
    #[serde(borrow)]
    auth: Option<&'a RawValue>,
    #[serde(borrow)]
    channel_data: Option<&'a RawValue>,
}

/// The `data` of `pusher:signin`.
#[derive(Deserialize)]
struct SigninFields<'a> {
    #[serde(borrow)]
    auth: Option<&'a RawValue>,
    #[serde(borrow)]
    user_data: Option<&'a RawValue>,
}

impl<'a> ClientMessage<'a> {
    /// Reads one message. Errors are those of C-24, S-9 and E-5.
    pub fn parse(text: &'a str) -> Result<ClientMessage<'a>, ClientError> {
        if !json::is_well_formed(text) {
            return Err(ClientError::InvalidJson);
        }
        let message: Envelope<'a> = object(text)?;
        let name = message
            .event
            .and_then(json::string)
            .ok_or(ClientError::InvalidFormat)?;
        match name.as_ref() {
            "pusher:subscribe" => subscription(message.data).map(ClientMessage::Subscribe),
            "pusher:unsubscribe" => Ok(ClientMessage::Unsubscribe {
                channel: subscription(message.data)?.channel,
            }),
            "pusher:signin" => signin(message.data).map(ClientMessage::Signin),
            "pusher:ping" => Ok(ClientMessage::Ping),
            "pusher:pong" => Ok(ClientMessage::Pong),
            other if other.starts_with("client-") => client_event(name, &message),
            _ => Err(ClientError::Unsupported(name.into_owned())),
        }
    }
}

/// Reads the object `text`. A member that is there twice is refused like one of the wrong type.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, ClientError> {
    if !json::is_object(text) {
        return Err(ClientError::InvalidFormat);
    }
    serde_json::from_str(text).map_err(|_| ClientError::InvalidFormat)
}

/// The `data` of subscribe and unsubscribe: an object, or a string that holds one (C-23).
fn subscription(data: Option<&RawValue>) -> Result<SubscribeRequest<'_>, ClientError> {
    let data = data.ok_or(ClientError::MissingChannel)?;
    match json::string(data) {
        None => subscription_fields(data.get()),
        Some(inside) => subscription_fields(&inside).map(SubscribeRequest::into_owned),
    }
}

fn subscription_fields(text: &str) -> Result<SubscribeRequest<'_>, ClientError> {
    let fields: ChannelFields<'_> = object(text)?;
    let channel = fields.channel.ok_or(ClientError::MissingChannel)?;
    Ok(SubscribeRequest {
        channel: json::string(channel).ok_or(ClientError::InvalidFormat)?,
        auth: fields
            .auth
            .and_then(json::string)
            .filter(|auth| !auth.is_empty()),
        channel_data: ChannelData::from_json(fields.channel_data),
    })
}

/// The `data` of a sign-in: an object, or a string that holds one (C-23).
fn signin(data: Option<&RawValue>) -> Result<SigninRequest<'_>, ClientError> {
    let data = data.ok_or(ClientError::InvalidFormat)?;
    match json::string(data) {
        None => signin_fields(data.get()),
        Some(inside) => signin_fields(&inside).map(|request| SigninRequest {
            auth: Cow::Owned(request.auth.into_owned()),
            user_data: Cow::Owned(request.user_data.into_owned()),
        }),
    }
}

fn signin_fields(text: &str) -> Result<SigninRequest<'_>, ClientError> {
    let fields: SigninFields<'_> = object(text)?;
    Ok(SigninRequest {
        auth: fields
            .auth
            .and_then(json::string)
            .ok_or(ClientError::InvalidFormat)?,
        user_data: fields
            .user_data
            .and_then(json::string)
            .ok_or(ClientError::InvalidFormat)?,
    })
}

fn client_event<'a>(
    name: Cow<'a, str>,
    message: &Envelope<'a>,
) -> Result<ClientMessage<'a>, ClientError> {
    let channel = message
        .channel
        .and_then(json::string)
        .ok_or(ClientError::InvalidClientEvent)?;
    let data = match message.data {
        Some(data) => EventData::from_json(data),
        None => EventData::null(),
    };
    Ok(ClientMessage::ClientEvent(ClientEvent {
        name,
        channel,
        data,
    }))
}

impl SubscribeRequest<'_> {
    fn into_owned(self) -> SubscribeRequest<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        SubscribeRequest {
            channel: owned(self.channel),
            auth: self.auth.map(owned),
            channel_data: match self.channel_data {
                ChannelData::Absent => ChannelData::Absent,
                ChannelData::NotText => ChannelData::NotText,
                ChannelData::Text(text) => ChannelData::Text(owned(text)),
            },
        }
    }
}

impl<'a> ChannelData<'a> {
    fn from_json(raw: Option<&'a RawValue>) -> ChannelData<'a> {
        match raw.map(json::string) {
            None => ChannelData::Absent,
            Some(None) => ChannelData::NotText,
            Some(Some(text)) if text.is_empty() => ChannelData::Absent,
            Some(Some(text)) => ChannelData::Text(text),
        }
    }
}

#[cfg(test)]
mod tests;

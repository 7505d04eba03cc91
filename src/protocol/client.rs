//! ClientMessage: everything a client can say (C-23, C-24, S-9, S-18, E-1).
use super::{codes::ClientError, event::EventData};
use std::borrow::Cow;

#[derive(Debug, PartialEq, Eq)]
pub enum ClientMessage<'a> {
    Subscribe(SubscribeRequest<'a>),
    Unsubscribe { channel: Cow<'a, str> },
    ClientEvent(ClientEvent<'a>),
    Ping,
    Pong,
}

#[derive(Debug, PartialEq, Eq)]
pub struct SubscribeRequest<'a> {
    pub channel: Cow<'a, str>,
    /// `None` when absent, null, empty or not a string (S-8: ignored on public channels whatever its type)
    pub auth: Option<Cow<'a, str>>,
    pub channel_data: ChannelData<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum ChannelData<'a> {
    /// absent, null or "" (S-7)
    Absent,
    Text(Cow<'a, str>),
    /// present but no string: S-17 on presence channels (S-9)
    NotText,
}

#[derive(Debug, PartialEq, Eq)]
pub struct ClientEvent<'a> {
    pub name: Cow<'a, str>,
    pub channel: Cow<'a, str>,
    pub data: EventData<'a>,
}

impl<'a> ClientMessage<'a> {
    pub fn parse(text: &'a str) -> Result<ClientMessage<'a>, ClientError> {
        let _ = text;
        todo!()
    }
}

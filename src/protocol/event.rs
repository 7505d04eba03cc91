//! What an event carries: its data, byte for byte.
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The `data` of an event as a JSON string token (with its quotes), ready to be put into a frame: a string keeps the exact
/// token it came as (S-28); any other JSON value becomes a string of its raw text (E-7, H-20).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventData<'a> {
    token: Cow<'a, str>,
    /// bytes of the decoded string
    bytes: usize,
}
impl<'a> EventData<'a> {
    /// From a JSON value whose text has passed [`super::json::is_well_formed`].
    pub fn from_json(raw: &'a RawValue) -> EventData<'a> {
        let _ = raw;
        todo!()
    }
    /// From plain text (query parameters, bodies of the legacy endpoint).
    pub fn from_text(text: &str) -> EventData<'static> {
        let _ = text;
        todo!()
    }
    /// JSON `null`, for client events without data (E-5): the string `null`.
    pub fn null() -> EventData<'static> {
        todo!()
    }
    /// The JSON string token, quotes included.
    pub fn as_json(&self) -> &str {
        &self.token
    }
    /// Length in bytes of the string that receivers get (L-3, L-8).
    pub fn len_bytes(&self) -> usize {
        self.bytes
    }
    pub fn into_owned(self) -> EventData<'static> {
        todo!()
    }
}

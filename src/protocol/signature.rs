//! HMAC strings for channels and REST requests (S-5 to S-7, H-11 to H-16).
use super::{channel::ChannelName, codes::SubscribeError, socket_id::SocketId};

/// An app's secret. `Debug` shows no part of it; keeps the prepared HMAC state.
#[derive(Clone)]
pub struct Secret {/* text and prepared Hmac<Sha256> */}

impl Secret {
    pub fn new(text: &str) -> Secret {
        let _ = text;
        todo!()
    }
    /// lower-case hex
    pub fn sign(&self, text: &[u8]) -> String {
        let _ = text;
        todo!()
    }
    /// constant time; hex digits in either case
    pub fn verify(&self, text: &[u8], hex_digest: &str) -> bool {
        let _ = (text, hex_digest);
        todo!()
    }
}
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Checks the `auth` of a subscription. `channel_data`: as received; `None` when absent.
/// Presence channels sign it; other private kinds match with or without it (S-7).
pub fn check_channel_auth(
    key: &str,
    secret: &Secret,
    auth: Option<&str>,
    socket_id: SocketId,
    channel: &ChannelName,
    channel_data: Option<&str>,
) -> Result<(), SubscribeError> {
    let _ = (key, secret, auth, socket_id, channel, channel_data);
    todo!()
}

/// The query string of a REST request, decoded by the rules of H-13.
pub struct Query {}
impl Query {
    pub fn parse(raw: &str) -> Query {
        let _ = raw;
        todo!()
    }
    /// value of a plain parameter (the last wins); for array forms the values joined with commas. Keys are lower-case.
    pub fn get(&self, key: &str) -> Option<&str> {
        let _ = key;
        todo!()
    }
    /// the values of `key[]=a&key[]=b` / `key[0]=a`; a plain value split at nothing is one entry
    pub fn get_all(&self, key: &str) -> Vec<&str> {
        let _ = key;
        todo!()
    }
}

/// A REST request as signed.
pub struct SignedRequest<'a> {
    pub method: &'a str,
    /// the path as in the request line, and the further forms it may have been signed as (H-15)
    pub paths: &'a [&'a str],
    pub query: &'a Query,
    pub body: &'a [u8],
}

/// Why a REST request is refused with 401 (H-14 rows 2 to 8). `Display` is the body's sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestAuthError {
    #[error("Missing parameter: auth_key")]
    MissingKey,
    // ...
}

/// Runs rows 2 to 8 of H-14 in their order. `now_s`: Unix seconds; `window_s` 0 switches the time check off.
pub fn check_request(
    request: &SignedRequest<'_>,
    key: &str,
    secret: &Secret,
    now_s: u64,
    window_s: u64,
) -> Result<(), RequestAuthError> {
    let _ = (request, key, secret, now_s, window_s);
    todo!()
}

//! HMAC signatures of subscriptions and sign-ins: what is signed, and whether a signature fits (S-5 to S-7, U-1). REST requests
//! are the business of [`request`](super::request).

use super::{
    channel::{ChannelKind, ChannelName},
    codes::{ClientError, SubscribeError},
    socket_id::SocketId,
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// An app's secret. `Debug` shows no part of it; keeps the prepared HMAC state.
#[derive(Clone)]
pub struct Secret {
    /// has already taken in the key, which saves two hash rounds on each use
    hmac: Hmac<Sha256>,
}

impl Secret {
    pub fn new(text: &str) -> Secret {
        let hmac = Hmac::new_from_slice(text.as_bytes()).expect("HMAC takes keys of any length");
        Secret { hmac }
    }

    /// Whether both sign alike.
    pub fn is_same(&self, other: &Secret) -> bool {
        other.verify(b"", &self.sign(b""))
    }

    /// lower-case hex
    pub fn sign(&self, text: &[u8]) -> String {
        let mac = self.hmac.clone().chain_update(text);
        hex::encode(mac.finalize().into_bytes())
    }

    /// constant time; hex digits in either case
    pub fn verify(&self, text: &[u8], hex_digest: &str) -> bool {
        let mut digest = [0; 32];
        if hex::decode_to_slice(hex_digest, &mut digest).is_err() {
            return false;
        }
        let mac = self.hmac.clone().chain_update(text);
        mac.verify_slice(&digest).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Checks the `auth` of a subscription. `channel_data`: as received; `None` when absent.
/// Presence channels sign it; other private kinds match with or without it (S-7). Public kinds pass whatever `auth` is
/// (S-8); no signature opens a user channel (U-14).
pub fn check_channel_auth(
    key: &str,
    secret: &Secret,
    auth: Option<&str>,
    socket_id: SocketId,
    channel: &ChannelName,
    channel_data: Option<&str>,
) -> Result<(), SubscribeError> {
    let kind = channel.kind();
    if kind == ChannelKind::ServerToUser {
        return Err(SubscribeError::ServerToUser(channel.to_string()));
    }
    if !kind.needs_auth() {
        return Ok(());
    }
    let (auth_key, signature) = split_auth(auth.unwrap_or(""));
    if let Some(auth_key) = auth_key
        && !auth_key.eq_ignore_ascii_case(key)
    {
        return Err(SubscribeError::InvalidKey(auth_key.to_owned()));
    }
    if kind.is_presence() && channel_data.is_none() {
        return Err(SubscribeError::MissingChannelData(channel.to_string()));
    }

    let plain = format!("{socket_id}:{channel}");
    let with_data = channel_data.map(|data| format!("{plain}:{data}"));
    let alternative = (!kind.is_presence()).then_some(plain.as_str());
    let accepted = [with_data.as_deref(), alternative];
    let fits = |signed: &&str| auth_key.is_some() && secret.verify(signed.as_bytes(), signature);
    if accepted.iter().flatten().any(fits) {
        return Ok(());
    }
    Err(SubscribeError::InvalidSignature {
        string_to_sign: alternative.map_or(with_data.unwrap_or_default(), str::to_owned),
        signature: signature.to_owned(),
    })
}

/// Checks the `auth` of a presence subscription without `channel_data`, of a connection that is signed in (P-2, V-12).
pub fn check_member_auth(
    key: &str,
    secret: &Secret,
    auth: Option<&str>,
    socket_id: SocketId,
    channel: &ChannelName,
) -> Result<(), SubscribeError> {
    let string_to_sign = format!("{socket_id}:{channel}");
    check_auth(key, secret, auth.unwrap_or(""), &string_to_sign).map_err(|error| match error {
        AuthError::Key(key) => SubscribeError::InvalidKey(key.to_owned()),
        AuthError::Signature(signature) => SubscribeError::InvalidSignature {
            signature: signature.to_owned(),
            string_to_sign,
        },
    })
}

/// Checks the `auth` of a sign-in, which signs `user_data` as received (U-1, V-13).
pub fn check_user_auth(
    key: &str,
    secret: &Secret,
    auth: &str,
    socket_id: SocketId,
    user_data: &str,
) -> Result<(), ClientError> {
    let string_to_sign = format!("{socket_id}::user::{user_data}");
    check_auth(key, secret, auth, &string_to_sign).map_err(|error| match error {
        AuthError::Key(key) => ClientError::InvalidSigninKey(key.to_owned()),
        AuthError::Signature(signature) => ClientError::InvalidSigninSignature {
            signature: signature.to_owned(),
            string_to_sign,
        },
    })
}

/// The part of an `auth` that doesn't fit.
enum AuthError<'a> {
    Key(&'a str),
    Signature(&'a str),
}

fn check_auth<'a>(
    key: &str,
    secret: &Secret,
    auth: &'a str,
    string_to_sign: &str,
) -> Result<(), AuthError<'a>> {
    match split_auth(auth) {
        (Some(auth_key), _) if !auth_key.eq_ignore_ascii_case(key) => Err(AuthError::Key(auth_key)),
        (Some(_), signature) if secret.verify(string_to_sign.as_bytes(), signature) => Ok(()),
        (_, signature) => Err(AuthError::Signature(signature)),
    }
}

/// `KEY:SIGNATURE` at the first colon (S-6). Without one there is no key, and nothing can fit.
fn split_auth(auth: &str) -> (Option<&str>, &str) {
    match auth.split_once(':') {
        Some((key, signature)) => (Some(key), signature),
        None => (None, auth),
    }
}

#[cfg(test)]
mod tests;

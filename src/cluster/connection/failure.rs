//! What went wrong with Redis, as sentences for the person who set it up. None of them holds a secret.

use std::{io, time::Duration};

use redis::{ErrorKind, RedisError};
use rustls::{CertificateError, Error as TlsError, InvalidMessage};

use super::servers::{Access, Place};
use crate::client::{ConnectError, one_line};

/// An error that reads as this sentence.
pub fn failure(sentence: impl Into<String>) -> RedisError {
    io::Error::other(sentence.into()).into()
}

/// There is no connection at all.
pub fn not_connected(error: ConnectError) -> RedisError {
    let ConnectError::Tls { at, reason, error } = error else {
        return failure(format!("Redis can't be reached: {error}"));
    };
    failure(match error {
        Some(TlsError::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => format!(
            "the certificate of Redis at {at} is signed by a CA that isn't known here: name the file of that CA in the settings"
        ),
        Some(TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => format!("the certificate of Redis at {at} is for another name: {reason}"),
        Some(TlsError::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            format!("Redis at {at} doesn't speak TLS: write redis:// instead of rediss://")
        }
        Some(_) => format!("no TLS with Redis at {at}: {reason}"),
        None => format!(
            "no TLS with Redis at {at} ({reason}): if it doesn't speak TLS, write redis:// instead of rediss://"
        ),
    })
}

/// There is a connection, but Redis, if it is one, doesn't let us in.
pub fn not_let_in(place: &Place, access: &Access, error: &RedisError) -> RedisError {
    let said = access.without_secrets(&one_line(&error.to_string()));
    let has_tls = access.tls.is_some();
    let code = error.code().unwrap_or_default();
    let detail = error.detail().unwrap_or_default();
    failure(match error.kind() {
        _ if said.contains("CertificateRequired") => {
            format!("Redis at {place} wants a client certificate: name one in the settings")
        }
        ErrorKind::Io if has_tls => format!("Redis at {place} ends the connection: {said}"),
        ErrorKind::Io => format!(
            "what listens at {place} ends the connection at once: it may want TLS (rediss://), or not be a Redis"
        ),
        ErrorKind::Parse => format!(
            "what listens at {place} isn't a Redis, or wants TLS (rediss://): its answer isn't one of Redis"
        ),
        ErrorKind::RESP3NotSupported => too_old(place),
        _ => match (code, detail) {
            ("WRONGPASS", _) => match &access.username {
                Some(user) => format!(
                    "Redis at {place} refuses the user {user}: the name or the password is wrong"
                ),
                None => format!("Redis at {place} refuses the password"),
            },
            ("NOAUTH", _) => format!("Redis at {place} wants a password: set one"),
            ("NOPROTO", _) => too_old(place),
            ("LOADING", _) => format!("Redis at {place} is still reading its data"),
            ("DENIED", _) => format!(
                "Redis at {place} is in protected mode, in which it serves its own machine only: give it a password (requirepass)"
            ),
            ("NOPERM", _) => format!(
                "the user of Redis at {place} may not do what is needed: {}",
                access.without_secrets(detail)
            ),
            (_, detail) if detail.contains("unknown command") => too_old(place),
            (_, detail) if detail.contains("DB index") || detail.contains("SELECT is not") => {
                format!("Redis at {place} has no database {}", access.database)
            }
            _ => format!("Redis at {place} doesn't let us in: {said}"),
        },
    })
}

fn too_old(place: &Place) -> String {
    format!("Redis at {place} is too old: 6.0 or later is needed, or any Valkey")
}

pub fn no_answer(place: &Place, answer: Duration) -> RedisError {
    failure(format!(
        "Redis at {place} gave no answer within {} s",
        answer.as_secs_f32()
    ))
}

/// A call on a connection that stands has failed: what the network did is said in a sentence, what Redis says stays as it is.
pub fn of_call(place: &Place, answer: Duration, error: RedisError) -> RedisError {
    match error.kind() {
        ErrorKind::Io if error.is_timeout() => no_answer(place, answer),
        ErrorKind::Io => failure(format!(
            "the connection to Redis at {place} is gone: {error}"
        )),
        _ => error,
    }
}

/// Whether what Redis says to a command means that another server must be asked from now on.
pub fn is_wrong_server(code: &str, detail: &str) -> bool {
    let codes = ["MOVED", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "LOADING"];
    // before 7.0 the error of a script only quoted that of its command
    codes.contains(&code) || detail.contains("-READONLY ")
}

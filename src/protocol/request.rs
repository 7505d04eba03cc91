//! A REST request as it was signed: whether signature, time and body fit (H-11, H-12, H-14 to H-16).

mod query;

use self::query::ArrayForm;
pub use self::query::Query;
pub(crate) use self::query::decoded_pairs;
use super::{
    codes::{SIGNATURE_SHOWN_CHARS, SIGNED_SHOWN_CHARS, shown},
    signature::Secret,
};
use md5::{Digest, Md5};

/// A REST request as signed.
pub struct SignedRequest<'a> {
    pub method: &'a str,
    /// the path as in the request line, and the further forms it may have been signed as (H-15)
    pub paths: &'a [&'a str],
    pub query: &'a Query,
    pub body: &'a [u8],
}

/// Why a REST request is refused with 401 (H-14 rows 2 to 8). `Display` is the body's sentence: one line, no secret in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestAuthError {
    #[error("Missing parameter: auth_key")]
    MissingKey,
    #[error("Unknown auth_key")]
    UnknownKey,
    #[error("Version required")]
    MissingVersion,
    #[error("Version not supported")]
    UnsupportedVersion,
    #[error("Timestamp required")]
    MissingTimestamp,
    /// All in Unix seconds.
    #[error(
        "Timestamp expired: Given timestamp ({}) not within {window_s}s of server time ({}) - the sender's clock is {}",
        utc(*.given_s), utc(*.now_s), skew(*.given_s, *.now_s)
    )]
    TimestampExpired {
        given_s: i64,
        now_s: i64,
        window_s: u64,
    },
    #[error(
        "Invalid signature: you should have sent HmacSHA256Hex(\"{}\", your_secret_key), but you sent \"{}\" \
         - check that the app secret here and in the sender's configuration are the same",
        one_line(.string_to_sign, SIGNED_SHOWN_CHARS), one_line(.signature, SIGNATURE_SHOWN_CHARS)
    )]
    InvalidSignature {
        string_to_sign: String,
        signature: String,
    },
    #[error("Invalid body_md5")]
    InvalidBodyMd5,
}

impl RequestAuthError {
    /// What metrics and the live stream call it.
    pub fn name(&self) -> &'static str {
        match self {
            RequestAuthError::MissingKey => "missing_auth_key",
            RequestAuthError::UnknownKey => "unknown_auth_key",
            RequestAuthError::MissingVersion => "missing_auth_version",
            RequestAuthError::UnsupportedVersion => "unsupported_auth_version",
            RequestAuthError::MissingTimestamp => "missing_timestamp",
            RequestAuthError::TimestampExpired { .. } => "timestamp_expired",
            RequestAuthError::InvalidSignature { .. } => "invalid_signature",
            RequestAuthError::InvalidBodyMd5 => "invalid_body_md5",
        }
    }
}

/// Runs rows 2 to 8 of H-14 in their order. `now_s`: Unix seconds; `window_s` 0 switches the time check off.
pub fn check_request(
    request: &SignedRequest<'_>,
    key: &str,
    secret: &Secret,
    now_s: u64,
    window_s: u64,
) -> Result<(), RequestAuthError> {
    check_key(request.query, key)?;
    check_version(request.query)?;
    check_timestamp(request.query, now_s, window_s)?;
    check_signature(request, secret)?;
    check_body(request)
}

fn check_key(query: &Query, key: &str) -> Result<(), RequestAuthError> {
    match query.get("auth_key") {
        None => Err(RequestAuthError::MissingKey),
        Some(given) if given == key => Ok(()),
        Some(_) => Err(RequestAuthError::UnknownKey),
    }
}

fn check_version(query: &Query) -> Result<(), RequestAuthError> {
    match query.get("auth_version") {
        None => Err(RequestAuthError::MissingVersion),
        Some("1.0") => Ok(()),
        Some(_) => Err(RequestAuthError::UnsupportedVersion),
    }
}

/// The difference must be less than the window: at 600 s a timestamp is refused.
fn check_timestamp(query: &Query, now_s: u64, window_s: u64) -> Result<(), RequestAuthError> {
    let given_s: i64 = query
        .get("auth_timestamp")
        .and_then(|text| text.parse().ok())
        .ok_or(RequestAuthError::MissingTimestamp)?;
    let now_s = i64::try_from(now_s).unwrap_or(i64::MAX);
    if window_s != 0 && given_s.abs_diff(now_s) >= window_s {
        return Err(RequestAuthError::TimestampExpired {
            given_s,
            now_s,
            window_s,
        });
    }
    Ok(())
}

/// Every path the request may have been signed under (H-15), with arrays in either form (H-13).
fn check_signature(request: &SignedRequest<'_>, secret: &Secret) -> Result<(), RequestAuthError> {
    let signature = request.query.get("auth_signature").unwrap_or("");
    let forms: &[ArrayForm] = match request.query.has_arrays() {
        true => &[ArrayForm::Joined, ArrayForm::Repeated],
        false => &[ArrayForm::Joined],
    };
    let mut text = String::new();
    for path in request.paths {
        for form in forms {
            request.to_sign(path, *form, &mut text);
            if secret.verify(text.as_bytes(), signature) {
                return Ok(());
            }
        }
    }
    let path = request.paths.first().copied().unwrap_or("");
    request.to_sign(path, ArrayForm::Joined, &mut text);
    Err(RequestAuthError::InvalidSignature {
        string_to_sign: text,
        signature: signature.to_owned(),
    })
}

impl SignedRequest<'_> {
    /// The string to sign (H-11), in place of what is in `out`.
    fn to_sign(&self, path: &str, form: ArrayForm, out: &mut String) {
        out.clear();
        // most queries have no arrays, whose brackets are all that signing adds
        out.reserve(self.method.len() + path.len() + 2 * self.query.text_bytes());
        out.push_str(self.method);
        out.make_ascii_uppercase();
        for part in ["\n", path, "\n"] {
            out.push_str(part);
        }
        self.query.to_sign(form, out);
    }
}

/// A body needs its MD5; an MD5 without a body is the one of nothing (H-16).
fn check_body(request: &SignedRequest<'_>) -> Result<(), RequestAuthError> {
    let fits = match request.query.get("body_md5") {
        None => request.body.is_empty(),
        Some(given) => {
            let mut expected = [0; 32];
            hex::encode_to_slice(Md5::digest(request.body), &mut expected).is_ok()
                && given.as_bytes() == expected
        }
    };
    if fits {
        Ok(())
    } else {
        Err(RequestAuthError::InvalidBodyMd5)
    }
}

/// Unix seconds as `2012-11-16T17:49:39Z`, in the proleptic Gregorian calendar.
pub(crate) fn utc(unix_s: i64) -> String {
    const DAY_S: i64 = 86_400;
    /// days from 0000-03-01, where the years of this count begin, to 1970-01-01
    const DAYS_TO_1970: i64 = 719_468;
    /// days in 400 years, after which the calendar repeats
    const ERA_DAYS: i64 = 146_097;

    let (days, second) = (unix_s.div_euclid(DAY_S), unix_s.rem_euclid(DAY_S));
    let days = days + DAYS_TO_1970;
    let (era, day) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    // years begin in March: the leap day comes last, and every fifth of month ends follows 153 days per 5 months
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = era * 400 + year + next_year;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// `700 s behind`, as seen from here.
fn skew(given_s: i64, now_s: i64) -> String {
    let direction = if given_s < now_s { "behind" } else { "ahead" };
    format!("{} s {direction}", given_s.abs_diff(now_s))
}

/// `text` cut to `chars_max`, with line breaks and other control characters written as escapes.
fn one_line(text: &str, chars_max: usize) -> String {
    let escaped = |c: char| {
        let escape = c.is_control().then(|| c.escape_default());
        let plain = escape.is_none().then_some(c);
        escape.into_iter().flatten().chain(plain)
    };
    shown(text, chars_max).chars().flat_map(escaped).collect()
}

#[cfg(test)]
mod tests;

//! Why a start is refused: one sentence each, naming the setting, its source and what is allowed.
use std::fmt::Write;

/// A setting that can't be used. `Display` is one sentence without a trailing stop; no secret is ever in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value of the wrong kind or out of its range.
    #[error("{setting} is {value} in {origin}; it must be {allowed}")]
    Invalid {
        setting: String,
        value: String,
        origin: String,
        allowed: String,
    },
    #[error("{setting} is missing in {origin}; {needed}")]
    Missing {
        setting: String,
        origin: String,
        needed: String,
    },
    /// A key of the file, or a variable, that means nothing.
    #[error("{name} is not a setting{}", nearest_text(.nearest))]
    Unknown {
        name: String,
        nearest: Option<String>,
    },
    #[error("the file {path} can't be read: {reason}")]
    Unreadable { path: String, reason: String },
    #[error("{origin} is not valid TOML{position}: {reason}")]
    Syntax {
        origin: String,
        position: String,
        reason: String,
    },
    #[error("{origin} is not valid JSON{position}: {reason}")]
    NotJson {
        origin: String,
        position: String,
        reason: String,
    },
    #[error(
        "{absence}, but {present} is set; an app needs an id, a key and a secret, so set {missing} or unset the others"
    )]
    IncompleteApp {
        /// `REVERB_APP_SECRET is missing from .env`
        absence: String,
        missing: String,
        present: String,
    },
    /// A Laravel project, but nobody could connect.
    #[error("no app is configured: {absence}; {cure}")]
    NoApp { absence: String, cure: String },
    /// A `.env` that Laravel would refuse.
    #[error("{file} can't be read, by Laravel neither: {cause}")]
    EnvFile {
        file: String,
        /// `line 7: unexpected whitespace …`
        cause: String,
    },
    #[error(
        "two apps have the {part} {value} but differ otherwise, one from {first}, one from {second}; each app needs its own id and key"
    )]
    DuplicateApp {
        part: &'static str,
        value: String,
        first: String,
        second: String,
    },
    /// The development secret is public knowledge, so it must not be reachable from elsewhere.
    #[error(
        "server.host is {host} in {origin}, but app {app} uses the published development key and secret, which everybody knows; set REVERB_APP_ID, REVERB_APP_KEY and REVERB_APP_SECRET (or an [[apps]] section) to values of your own, or listen on 127.0.0.1"
    )]
    PublishedSecret {
        host: String,
        origin: String,
        app: String,
    },
    #[error("the settings could not be put together: {0}")]
    Merge(String),
}

fn nearest_text(nearest: &Option<String>) -> String {
    let mut text = String::new();
    if let Some(nearest) = nearest {
        // writing to a String cannot fail
        let _ = write!(text, "; the nearest is {nearest}");
    }
    text
}

/// The candidate most like `name`, if any is alike at all.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate.to_owned())
}

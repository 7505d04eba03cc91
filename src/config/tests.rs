//! Settings as a whole: every source, every refusal, and the documentation.

mod apps;
mod files;
mod keys;
mod limits;
mod random;
mod server;
mod sources;
mod variables;
mod webhooks;

use std::fmt::Debug;

use super::*;

const REVERB_APP: [(&str, &str); 3] = [
    ("REVERB_APP_ID", "482915"),
    ("REVERB_APP_KEY", "key"),
    ("REVERB_APP_SECRET", "hush"),
];

pub(super) fn variables(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    let owned = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string()));
    owned.collect()
}

fn from_variables(pairs: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    load(&Overrides::default(), &variables(pairs))
}

fn with_app(pairs: &[(&str, &str)]) -> Settings {
    let all = [&REVERB_APP[..], pairs].concat();
    from_variables(&all).unwrap_or_else(|error| panic!("{pairs:?}: {error}"))
}

/// Why it was refused, in a sentence.
#[track_caller]
pub(super) fn refusal<T: Debug>(result: Result<T, ConfigError>) -> String {
    let sentence = result.expect_err("refused").to_string();
    assert!(
        !sentence.contains('\n') && !sentence.ends_with('.'),
        "{sentence}"
    );
    sentence
}

/// The value of a setting and where it comes from.
#[track_caller]
pub(super) fn listed<'a>(settings: &'a Settings, key: &str) -> (&'a str, &'a str) {
    let found = settings.listing.iter().find(|line| line.key == key);
    found
        .map(|line| (line.value.as_str(), line.origin.as_str()))
        .unwrap_or_else(|| panic!("{key} is not listed"))
}

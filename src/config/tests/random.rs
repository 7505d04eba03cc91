//! Settings nobody would write.

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::*;
use crate::config::variables::LARAVEL_SETTINGS;

#[test]
fn random_files_and_variables_end_in_a_sentence() {
    let mut random = SmallRng::seed_from_u64(3);
    let words = [
        "[server]\n",
        "[[apps]]\n",
        "port",
        "=",
        " = ",
        "\"",
        "'x'",
        "1",
        "-",
        "[",
        "]",
        "\n",
        "id",
        "key",
        "secret",
        "${",
        "é",
        "\0",
        ",",
        "*",
        ":",
        "/",
        "[app_defaults]\n",
        "allowed_origins",
        "99999999999999999999",
        ".",
        "#",
    ];
    let names: Vec<&str> = KNOWN_KEYS
        .iter()
        .map(|known| known.variable.as_str())
        .chain(LARAVEL_SETTINGS.map(|(name, _)| name))
        .collect();
    for _ in 0..2_000 {
        let length = random.random_range(0..14);
        let text: String = (0..length)
            .map(|_| words[random.random_range(0..words.len())])
            .collect();
        if let Err(error) = from_toml(&text) {
            assert!(!error.to_string().contains('\n'), "{text:?}: {error}");
        }
        let name = names[random.random_range(0..names.len())];
        if let Err(error) = from_variables(&[(name, &text)]) {
            assert!(error.to_string().contains(name), "{name}={text:?}: {error}");
        }
    }
}

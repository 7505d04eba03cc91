//! Variables and files nobody would write.

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::*;

#[test]
fn random_input_ends_in_settings_or_a_sentence() {
    let mut random = SmallRng::seed_from_u64(20_260_417);
    let texts = [
        "1",
        "-1",
        "0",
        "true",
        "null",
        "[]",
        "{}",
        "\"x\"",
        "x",
        "1e99",
        "[[{}]]",
        "0.1",
        "{\"0\":{\"id\":1}}",
        "[{\"id\":1,\"key\":2,\"secret\":3}]",
        "99999999999999999999",
        "[{\"url\":\"http://a\",\"event_types\":[\"client_event\"]}]",
        "ä€",
        "array",
        "full",
    ];
    for _ in 0..3_000 {
        let mut pairs: Vec<(String, &str)> = Vec::new();
        let mut members = Vec::new();
        for _ in 0..random.random_range(0..5) {
            let option = &OPTIONS[random.random_range(0..OPTIONS.len())];
            let text = texts[random.random_range(0..texts.len())];
            pairs.push((format!("SOKETI_{}", option.variable), text));
            let cut = random.random_range(0..=option.path.len());
            let path = option.path.get(..cut).unwrap_or_default();
            if serde_json::from_str::<Json>(text).is_ok() {
                members.push(format!("\"{path}\": {text}"));
            }
        }
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, t)| (n.as_str(), *t)).collect();
        if let Err(error) = of_variables(&pairs) {
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        let text = format!("{{{}}}", members.join(", "));
        if let Err(error) = of_file(&text) {
            assert!(error.to_string().contains("file soketi.json"), "{error}");
        }
    }
}

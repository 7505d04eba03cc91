//! soketi's JSON file: which it is, its keys nested and dotted, and what is wrong in it.

use super::*;

#[test]
fn which_files_are_soketis() {
    let check = |name: &str, text: &str, expected: bool| {
        assert_eq!(SoketiFile::is_one(name, text), expected, "{name}");
    };
    check("soketi.json", "", true);
    check("/etc/soketi/config.JSON", "port = 1", true);
    check("config", " \n{\"port\": 1}", true);
    check("config", "\u{feff}{}", true);
    check("resound.toml", "[server]", false);
    check("json", "", false);
}

#[test]
fn files_nested_and_dotted() {
    let check = |text: &str, expected: &[&str]| {
        let from = of_file(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(shown(&from.settings), expected, "{text}");
        assert_eq!(from.warnings, Vec::<String>::new(), "{text}");
        assert!(from.is_present);
    };
    check("{}", &[]);
    check("\u{feff} {\"port\": 6002}", &["server.port 6002"]);
    check("{\"port\": null, \"host\": \"\"}", &[]);
    check("{\"eventLimits\": null}", &[]);
    let both = [
        "app_defaults.batch_events_max 20",
        "app_defaults.event_data_bytes_max 10240",
    ];
    check(
        "{\"eventLimits\": {\"maxBatchSize\": 20, \"maxPayloadInKb\": \"10\"}}",
        &both,
    );
    check(
        "{\"eventLimits.maxBatchSize\": 20, \"eventLimits.maxPayloadInKb\": 10}",
        &both,
    );
    check(
        "{\"eventLimits\": {\"maxBatchSize\": 1, \"maxPayloadInKb\": 10}, \"eventLimits.maxBatchSize\": 20}",
        &both,
    );
    check(
        "{\"webhooks.batching\": {\"enabled\": 1}}",
        &["webhook.batching true"],
    );
    check(
        "{\"httpApi\": {\"requestLimitInMb\": 2}}",
        &["server.request_bytes_max 2097152"],
    );
    check(
        "{\"httpApi\": {\"acceptTraffic\": {\"memoryThreshold\": 85}}}",
        &[],
    );
    check(
        "{\"cors\": {\"origin\": [\"*\"], \"credentials\": true, \"methods\": []}}",
        &[],
    );
    check(
        "{\"adapter\": {\"redis\": {\"redisSubOptions\": {\"anything\": 1}}}}",
        &[],
    );
}

#[test]
fn unknown_keys_of_files_are_warned_of() {
    let check = |text: &str, part: &str| {
        let from = of_file(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let [warning] = &from.warnings[..] else {
            panic!("{text}: {:?}", from.warnings)
        };
        assert!(warning.contains(part), "{warning}");
        assert!(!warning.contains("hush"), "{warning}");
    };
    check(
        "{\"prot\": 1}",
        "prot in file soketi.json is not known and without effect (the nearest is port)",
    );
    check(
        "{\"eventLimits\": {\"maxBatch\": 1}}",
        "eventLimits.maxBatch in file soketi.json",
    );
    check(
        "{\"eventLimits.maxBatch\": 1}",
        "eventLimits.maxBatch in file soketi.json",
    );
    check("{\"a\": {\"b\": \"hush\"}}", "a in file soketi.json");
    check("{\"\": 1}", "is not known");
    check("{\"eventLimits.\": 1}", "eventLimits. in file");
    check("{\"eventLimits\": {\"\": 1}}", "eventLimits. in file");
    check(
        "{\"appManager.array.apps.5.id\": 1}",
        "appManager.array.apps.5.id",
    );
    check(
        "{\"appManager.array.apps\": [{\"secret\": \"s\", \"max_conn\": \"hush\"}]}",
        "appManager.array.apps.0.max_conn",
    );
    check(
        "{\"cors\": {\"origin\": [\"https://example.com\"]}}",
        "allowed_origins",
    );
}

#[test]
fn wrong_files_are_refused_by_place() {
    let check = |text: &str, parts: &[&str]| {
        let sentence = refusal(of_file(text));
        for part in [&["file soketi.json"], parts].concat() {
            assert!(sentence.contains(part), "{text}: {part}: {sentence}");
        }
        assert!(!sentence.contains("hush"), "{sentence}");
    };
    check("{", &["not valid JSON", "line 1"]);
    check("{\"port\": hush}", &["not valid JSON", "line 1"]);
    check("[]", &["must be an object"]);
    check("{\"port\": \"x\"}", &["(port)", "a whole number"]);
    check("{\"eventLimits\": 5}", &["eventLimits", "an object"]);
    check(
        "{\"database\": \"mysql://hush@host\"}",
        &["database", "an object"],
    );
    check("{\"appManager.array.apps\": {}}", &["a list of objects"]);
    check(
        "{\"appManager.array.apps\": [\"hush\"]}",
        &["appManager.array.apps.0"],
    );
    check(
        "{\"appManager.array.apps\": [{\"id\": 1}]}",
        &["appManager.array.apps.0.secret is missing"],
    );
    check(
        "{\"appManager.array.apps\": [{\"id\": [\"hush\"], \"secret\": \"hush\"}]}",
        &["apps.0.id", "a text"],
    );
    check(
        "{\"appManager.array.apps\": [{\"secret\": {\"a\": \"hush\"}}]}",
        &["a text"],
    );
    let two =
        "{\"appManager.array.apps\": [{\"id\": 1, \"key\": 1, \"secret\": 1}, {\"secret\": 2}]}";
    check(two, &["appManager.array.apps.1.id is missing"]);
    check(
        "{\"appManager.driver\": \"mysql\"}",
        &["mysql", "not supported yet"],
    );
}

//! A settings file: what is refused names its place.

use super::*;

#[test]
fn a_wrong_file_is_refused_by_place() {
    let check = |text: &str, expected: &str| {
        let sentence = refusal(from_toml(text));
        assert!(sentence.starts_with(expected), "{text:?}: {sentence}");
    };
    check(
        "[server]\nport = 70000",
        "server.port is 70000 in the given text; it must be",
    );
    check("[server]\nport = -1", "server.port is -1 in");
    check("[server]\nport = true", "server.port is true in");
    check(
        "[server]\nprot = 1",
        "server.prot in the given text is not a setting; the nearest is server.port",
    );
    check(
        "[sever]\nport = 1",
        "sever in the given text is not a setting; the nearest is server",
    );
    check("qqq = 1", "qqq in the given text is not a setting");
    check(
        "server = 1",
        "server is 1 in the given text; it must be a section, written [server]",
    );
    check("port = 1", "port in the given text is not a setting");
    check(
        "[apps]\nid = '1'",
        "apps is a section in the given text; it must be sections, each written [[apps]]",
    );
    check("apps = [1]", "apps is 1 in");
    check("[server]\npath = '/a//b'", "server.path is \"/a//b\" in");
    check("[server]\npath = '/a/../b'", "server.path is");
    check("[server]\npath = '/a b'", "server.path is");
    check(
        "[socket]\noutbox_bytes_max = 10",
        "socket.outbox_bytes_max is 10 in",
    );
    check("[hub]\ninbox_depth_max = 0", "hub.inbox_depth_max is 0 in");
    check(
        "[app_defaults]\npreset = 'pusher'",
        "app_defaults.preset is \"pusher\" in the given text; it must be \"\" or \"hosted\"",
    );
    check(
        "[server\nport = 1",
        "the given text is not valid TOML (line 1, column 8): ",
    );
    check(
        "[server]\nport = 1\nport = 2",
        "the given text is not valid TOML (line 3, column 1): duplicate key",
    );

    let app = |rest: &str| format!("[[apps]]\n{rest}");
    check(
        &app("key = 'k'\nsecret = 's'"),
        "id of [[apps]] number 1 is missing in the given text; an app needs",
    );
    check(
        &app("id = '1'\nkey = ''\nsecret = 's'"),
        "key of [[apps]] number 1 is \"\" in",
    );
    check(
        &app("id = 1\nkey = 'k'\nsecret = 1234567"),
        "secret of [[apps]] number 1 is not a text in the given text",
    );
    check(
        &app("id = 1\nkey = 'k'\nsecret = ''"),
        "secret of [[apps]] number 1 is empty in",
    );
    check(
        &app("id = 1\nkey = 'k'\nsecret = 's'\nping_interval = 3"),
        "ping_interval of [[apps]] in the given text is not a setting; the nearest is ping_interval_s",
    );
    check(
        &app("id = 1\nkey = 'k'\nsecret = 's'\nping_interval_s = 0"),
        "ping_interval_s of app 1 is 0 in the given text",
    );
    check(
        &app("id = 1\nkey = 'k'\nsecret = 's'\nenabled = 3"),
        "enabled of app 1 is 3 in",
    );
    let twice = app("id = 1\nkey = 'k'\nsecret = 's'\n").repeat(2);
    check(&twice, "two apps have the id 1");
}

#[test]
fn a_syntax_error_does_not_quote_the_source() {
    let text = "[[apps]]\nid = '1'\nkey = 'k'\nsecret = 'hush' oops";
    let sentence = refusal(from_toml(text));
    assert!(sentence.contains("line 4"), "{sentence}");
    assert!(!sentence.contains("hush"), "{sentence}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let overrides = Overrides {
        file: Some("no/such/resound.toml".into()),
        ..Overrides::default()
    };
    let sentence = refusal(load(&overrides, &HashMap::new()));
    assert!(
        sentence.starts_with("the file no/such/resound.toml can't be read: "),
        "{sentence}"
    );
}

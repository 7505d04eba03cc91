//! Which files are read, which of them wins, and how a wrong value is found in them.

use super::*;

#[test]
fn what_wins() {
    let toml = "[server]\nport = 9001\n[app_defaults]\nping_interval_s = 20";
    let check = |files: &[(&str, &str)], process: &[(&str, &str)], port: u16, origin: &str| {
        let files = [&[(".env", ENV), ("config/reverb.php", CUSTOM_PHP)], files].concat();
        let settings = Case::new(&files).with(process).settings();
        assert_eq!(settings.server.port, port, "{files:?}");
        assert_eq!(listed(&settings, "server.port").1, origin);
    };
    check(&[], &[], 9000, "config/reverb.php line 6");
    check(&[("resound.toml", toml)], &[], 9001, "file resound.toml");
    let env = format!("{ENV}REVERB_SERVER_PORT=9002\n");
    let files = [("resound.toml", toml), (".env", &env)];
    check(&files, &[], 9002, ".env line 23 (REVERB_SERVER_PORT)");
    check(
        &files,
        &[("REVERB_SERVER_PORT", "9003")],
        9003,
        "environment variable REVERB_SERVER_PORT",
    );
    let env = format!("{env}RESOUND_SERVER_PORT=9004\n");
    let files = [("resound.toml", toml), (".env", &env)];
    check(
        &files,
        &[("REVERB_SERVER_PORT", "9003")],
        9004,
        ".env line 24 (RESOUND_SERVER_PORT)",
    );
    // an empty variable of the process hides the file's, as it does for Laravel
    check(
        &files,
        &[("RESOUND_SERVER_PORT", "")],
        9002,
        ".env line 23 (REVERB_SERVER_PORT)",
    );

    let mut case = Case::new(&[
        (".env", ENV),
        ("config/reverb.php", CUSTOM_PHP),
        ("resound.toml", toml),
    ]);
    // what is said here for all apps beats what Laravel says of one, which beats Laravel's variables
    let settings = case.settings();
    assert_eq!(settings.apps[0].ping_interval_s, 20);
    let own = |line: &&crate::config::Setting| line.key == "apps.482915.ping_interval_s";
    assert_eq!(settings.listing.iter().find(own), None);
    case.overrides.port = Some("9005".to_owned());
    assert_eq!(
        listed(&case.settings(), "server.port"),
        ("9005", "option --port")
    );
}

#[test]
fn which_env_file() {
    let other = ENV.replace("482915", "5");
    let files = [
        (".env", ENV),
        (".env.staging", &other),
        ("sub/other", &other),
    ];
    let check = |edit: &dyn Fn(&mut Overrides), process: &[(&str, &str)], id: &str, file: &str| {
        let mut case = Case::new(&files).with(process);
        edit(&mut case.overrides);
        let settings = case.settings();
        assert_eq!(ids(&settings), [id]);
        assert_eq!(settings.files, [file]);
    };
    check(&|_| {}, &[], "482915", ".env");
    check(&|_| {}, &[("APP_ENV", "staging")], "5", ".env.staging");
    check(&|_| {}, &[("APP_ENV", "production")], "482915", ".env");
    check(&|_| {}, &[("APP_ENV", "../x")], "482915", ".env");
    check(
        &|o| o.env = Some("staging".to_owned()),
        &[("APP_ENV", "x")],
        "5",
        ".env.staging",
    );
    check(
        &|o| o.env = Some("nope".to_owned()),
        &[("APP_ENV", "staging")],
        "5",
        ".env.staging",
    );
    check(
        &|o| o.env_file = Some("sub/other".into()),
        &[("APP_ENV", "staging")],
        "5",
        "sub/other",
    );
    check(
        &|_| {},
        &[("RESOUND_ENV_FILE", ".env.staging")],
        "5",
        ".env.staging",
    );
    let mut case = Case::new(&files);
    case.overrides.env_file = Some("nope".into());
    assert_eq!(
        case.refusal(),
        "the file nope can't be read: there is no such file"
    );
    // nothing is read where nothing is to be looked for
    case.overrides = Overrides::default();
    assert_eq!(ids(&case.settings()), ["1001"]);
}

#[test]
fn which_settings_file() {
    let port = |port: u16| format!("[server]\nport = {port}");
    let (beside, named) = (port(1), port(2));
    let files = [("resound.toml", &*beside), ("other.toml", &*named)];
    assert_eq!(Case::new(&files).settings().server.port, 1);
    let case = Case::new(&files).with(&[("RESOUND_CONFIG", "other.toml")]);
    assert_eq!(case.settings().files, ["other.toml"]);
    assert_eq!(case.settings().server.port, 2);
    let mut case = case.with(&[("RESOUND_CONFIG", "nope.toml")]);
    assert!(
        case.refusal()
            .starts_with("the file nope.toml can't be read: ")
    );
    case.overrides.file = Some("other.toml".into());
    assert_eq!(case.settings().server.port, 2);
}

#[test]
fn wrong_values_are_refused_with_their_line() {
    let check = |files: &[(&str, &str)], expected: &str| {
        assert_eq!(Case::new(files).refusal(), expected);
    };
    let port = "it must be a whole number from 0 to 65535";
    check(
        &[(".env", &format!("{ENV}REVERB_SERVER_PORT=eighty\n"))],
        &format!("server.port is \"eighty\" in .env line 23 (REVERB_SERVER_PORT); {port}"),
    );
    let php = REVERB_PHP.replace("env('REVERB_SERVER_PORT', 8080)", "'eighty'");
    check(
        &[(".env", ENV), ("config/reverb.php", &php)],
        &format!("server.port is \"eighty\" in config/reverb.php line 8; {port}"),
    );
    let php = REVERB_PHP.replace("env('REVERB_APP_ACTIVITY_TIMEOUT', 30)", "0");
    check(
        &[(".env", ENV), ("config/reverb.php", &php)],
        "activity_timeout_s of app 482915 is 0 in config/reverb.php line 37; it must be a whole number from 1 to 86400",
    );
    check(
        &[(".env", &format!("{ENV}RESOUND_SERVER_PROT=1\n"))],
        ".env line 23 (RESOUND_SERVER_PROT) is not a setting; the nearest is RESOUND_SERVER_PORT",
    );
}

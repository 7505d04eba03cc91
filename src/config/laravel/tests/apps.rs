//! Apps: what an incomplete one lacks, and one that is named twice.

use super::*;

#[test]
fn a_missing_part_is_named_with_its_file() {
    let check_case = |case: Case, expected: &str| {
        let sentence = case.refusal();
        assert!(sentence.starts_with(expected), "{sentence}");
    };
    let check = |env: &str, expected: &str| check_case(Case::new(&[(".env", env)]), expected);
    let without = |name: &str| -> String {
        let lines = ENV.lines().filter(|line| !line.starts_with(name));
        lines.map(|line| format!("{line}\n")).collect()
    };
    check(
        &without("REVERB_APP_SECRET"),
        "REVERB_APP_SECRET is missing from .env, but .env line 11 (REVERB_APP_ID) is set; an app needs",
    );
    check(
        &ENV.replace("REVERB_APP_SECRET=hush", "REVERB_APP_SECRET="),
        "REVERB_APP_SECRET is empty in .env line 13, but",
    );
    check(
        "BROADCAST_CONNECTION=log\n",
        "no app is configured: REVERB_APP_ID, REVERB_APP_KEY and REVERB_APP_SECRET are missing from .env; set them",
    );
    check(
        "BROADCAST_DRIVER=pusher\nPUSHER_APP_ID=\nPUSHER_APP_KEY=\nPUSHER_APP_SECRET=\nPUSHER_APP_CLUSTER=mt1\n",
        "no app is configured: PUSHER_APP_ID, PUSHER_APP_KEY and PUSHER_APP_SECRET have no value in .env",
    );
    // as Laravel 8 to 10 come
    check(
        "BROADCAST_DRIVER=log\nPUSHER_APP_ID=\nPUSHER_APP_KEY=\nPUSHER_APP_SECRET=\n",
        "no app is configured: PUSHER_APP_ID, PUSHER_APP_KEY and PUSHER_APP_SECRET have no value in .env",
    );
    // what isn't UTF-8 is read as this character
    check(
        &ENV.replace("=hush", "=hu\u{fffd}sh"),
        "the app's secret is unreadable in .env line 13 (REVERB_APP_SECRET); it must be UTF-8",
    );
    check(
        "BROADCAST_CONNECTION=pusher\nPUSHER_APP_ID=your-pusher-app-id\nPUSHER_APP_KEY=your-pusher-key\nPUSHER_APP_SECRET=your-pusher-secret\n",
        "no app is configured: PUSHER_APP_ID",
    );
    check(
        "BROADCAST_CONNECTION=pusher\nPUSHER_APP_ID=7\nPUSHER_APP_KEY=your-pusher-key\n",
        ".env line 3 (PUSHER_APP_KEY) is a placeholder, but .env line 2 (PUSHER_APP_ID) is set",
    );
    check(
        &format!(
            "BROADCAST_CONNECTION=reverb\nX=\"open\n{}",
            ENV.replace('"', "")
        ),
        "no app is configured: REVERB_APP_ID, REVERB_APP_KEY and REVERB_APP_SECRET are missing from .env (a double quote opened in line 2 is never closed, so nothing after it counts); set",
    );
    check_case(
        Case::new(&[("config/reverb.php", REVERB_PHP)]),
        "no app is configured: REVERB_APP_ID, REVERB_APP_KEY and REVERB_APP_SECRET are not set, and there is no .env; set",
    );
    // a container whose variables come from nowhere
    check_case(
        Case::new(&[]).with(&[("REVERB_APP_ID", ""), ("REVERB_APP_KEY", "")]),
        "no app is configured: REVERB_APP_ID, REVERB_APP_KEY and REVERB_APP_SECRET have no value in the environment; set",
    );
    let case = Case::new(&[]).with(&[("REVERB_HOST", "localhost")]);
    assert_eq!(ids(&case.settings()), ["1001"]);
    // with another app it is only said
    let settings = Case::new(&[(".env", &format!("{ENV}PUSHER_APP_KEY=x\n"))]).settings();
    assert_eq!(ids(&settings), ["482915"]);
    assert!(
        settings.warnings[0].starts_with("PUSHER_APP_ID is missing from .env, but"),
        "{:?}",
        settings.warnings
    );
    // an app from elsewhere will do
    let toml = "[[apps]]\nid = 1\nkey = 'k'\nsecret = 'hush'";
    let settings = Case::new(&[
        (".env", "BROADCAST_CONNECTION=reverb\n"),
        ("resound.toml", toml),
    ])
    .settings();
    assert_eq!(ids(&settings), ["1"]);
}

#[test]
fn one_app_named_twice_is_one() {
    let env = format!(
        "{ENV}PUSHER_APP_ID=\"${{REVERB_APP_ID}}\"\nPUSHER_APP_KEY=${{REVERB_APP_KEY}}\nPUSHER_APP_SECRET=hush\n"
    );
    let settings = Case::new(&[(".env", &env)]).settings();
    assert_eq!(ids(&settings), ["482915"]);
    assert_eq!(settings.warnings, Vec::<String>::new());
    let settings = Case::new(&[(".env", &env.replace("\"${REVERB_APP_ID}\"", "5"))]).settings();
    assert_eq!(ids(&settings), ["482915"]);
    assert!(
        settings.warnings[0]
            .contains("id 482915 and key lab0key from REVERB_APP_* of .env count, id 5"),
        "{:?}",
        settings.warnings
    );
    let sentence = Case::new(&[(
        ".env",
        &env.replace("_SECRET=hush\nPUSHER", "_SECRET=hush\nX")
            .replace("PUSHER_APP_SECRET=hush", "PUSHER_APP_SECRET=hushhush"),
    )])
    .refusal();
    assert!(
        sentence.contains("two apps have the id 482915"),
        "{sentence}"
    );
}

//! Signed requests: vectors, the order of refusals, clocks and forms of a path.
use super::*;
use crate::protocol::json::tests::Random;

const KEY: &str = "278d425bdf160c739803";
const SECRET: &str = "7ad3773142a6692b25b8";

fn secret() -> Secret {
    Secret::new(SECRET)
}

const NOW_S: u64 = 1_353_088_179;
const B1: &str = r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
const B2: &str = r#"{"name":"foo","data":"{\"some\":\"data\"}","channel":"project-3"}"#;
const B3: &str = r#"{"name":"foo","data":"{\"some\":\"data\"}","channels":["project-3","presence-lobby"],"socket_id":"1234.1234","info":"user_count,subscription_count"}"#;
const B4: &str = r#"{"batch":[{"channel":"project-3","name":"foo","data":"{\"some\":\"data\"}"},{"channel":"presence-lobby","name":"bar","data":"plain text","socket_id":"1234.1234","info":"user_count"}]}"#;
const B5: &str =
    r##"{"name":"foo","channels":["#server-to-user-12345"],"data":"{\"some\":\"data\"}"}"##;
const B6: &str = r#"{"name":"naïve","channels":["project-3"],"data":"\"Žofie 🚀\""}"#;
const EMPTY_MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// One request with the common parameters of the vectors; changed by the tests.
#[derive(Clone)]
struct Case {
    method: &'static str,
    path: &'static str,
    /// as in the URL
    extra: &'static str,
    body: &'static str,
    body_md5: &'static str,
    signature: &'static str,
}

impl Case {
    fn query(&self) -> String {
        let mut query = format!("auth_key={KEY}&auth_timestamp={NOW_S}&auth_version=1.0");
        for (name, value) in [
            ("", self.extra),
            ("body_md5=", self.body_md5),
            ("auth_signature=", self.signature),
        ] {
            if !value.is_empty() {
                query += &format!("&{name}{value}");
            }
        }
        query
    }
    fn check(&self) -> Result<(), RequestAuthError> {
        check(self.method, &[self.path], &self.query(), self.body)
    }
}

fn check(method: &str, paths: &[&str], query: &str, body: &str) -> Result<(), RequestAuthError> {
    check_at(NOW_S, 600, method, paths, query, body)
}

fn check_at(
    now_s: u64,
    window_s: u64,
    method: &str,
    paths: &[&str],
    query: &str,
    body: &str,
) -> Result<(), RequestAuthError> {
    let request = SignedRequest {
        method,
        paths,
        query: &Query::parse(query),
        body: body.as_bytes(),
    };
    check_request(&request, KEY, &secret(), now_s, window_s)
}

const OK: &str = "ok";
const WRONG_SIGNATURE: &str = "Invalid signature: …";
const EXPIRED: &str = "Timestamp expired: …";

/// `expected`: [`OK`] or the refusal's text, in which `…` stands for any.
#[track_caller]
fn check_text(checked: Result<(), RequestAuthError>, expected: &str, input: &str) {
    let text = checked.map_or_else(|error| error.to_string(), |()| OK.to_owned());
    match expected.split_once('…') {
        None => assert_eq!(text, expected, "{input}"),
        Some((start, end)) => assert!(
            text.starts_with(start) && text.ends_with(end),
            "{input}: {text}"
        ),
    }
}

const fn case(
    method: &'static str,
    path: &'static str,
    extra: &'static str,
    body: &'static str,
    body_md5: &'static str,
    signature: &'static str,
) -> Case {
    Case {
        method,
        path,
        extra,
        body,
        body_md5,
        signature,
    }
}

const V20: Case = case(
    "POST",
    "/apps/3/events",
    "",
    B1,
    "ec365a775a4cd0599faeb73354201b6f",
    "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c",
);
const V24: Case = case(
    "GET",
    "/apps/3/channels",
    "",
    "",
    "",
    "1cafa6382331c976588eb6bd3925a988e4158402be06c4626d0e97d2981f5382",
);
const V26: Case = case(
    "GET",
    "/apps/3/channels/presence-lobby",
    "info=user_count,subscription_count",
    "",
    "",
    "53cbccdfcdc58dec1926d52062b2f20ba6eb76f4dd7c4df08f40534ed433d640",
);

#[test]
fn h12_v20_to_v46_signed_requests() {
    let v25 = "16819168891cb5dfd72b5c7a5d3d602605b26c6ba1930033b5e2eeeb65010291";
    let v30 = "1d911268217a0803e6d109de7c1808fc77a72c8c1ff609c4e13f768f3d330af9";
    let v33_md5 = "7b3d404f5cde4a0b9b8fb4789a0098cb";
    let v33 = "5693eccd776006072d4ed777477fb4a5c774a67a72c6af79e1e35967c52e1d5d";
    let v45 = "b8e8339118f4f0727e88cab8876ae94418f1074a8cb162c3f7496be079aaf4e5";
    let (post, get) = ("POST", "GET");
    let (events, channels) = ("/apps/3/events", "/apps/3/channels");
    let lobby_users = "/apps/3/channels/presence-lobby/users";
    let terminate = "/apps/3/users/12345/terminate_connections";
    let empty_object_md5 = "99914b932bd37a50b983c5e7c90ae93b";
    #[rustfmt::skip]
    let cases = [
        V20, V24, V26,
        case(post, events, "", B2, "cb830ec84320236e0c2ca8fcfbf81e55", "93b5da6c4d5622790a40957dfa5be1fb963779d1032ab7b4e4ac248598ac2819"),
        case(post, events, "", B3, "af66641382949df74ff39b49ef0b725a", "3f7c9b659f07c5fad1792c8327e9e769a0b38c5ab7f4adab449a655cdc7ae2af"),
        case(post, "/apps/3/batch_events", "", B4, "bd74004943c23efc5fd1d550f6abd52b", "045f9869f3008392976e820cd6ed194216fc4aed91b198e9ff799005b3df30b9"),
        case(get, channels, "filter_by_prefix=presence-&info=user_count", "", "", v25),
        case(get, channels, "Filter_By_Prefix=presence-&INFO=user_count", "", "", v25),
        case(get, V26.path, "info=user_count%2Csubscription_count", "", "", V26.signature),
        case(get, lobby_users, "", "", EMPTY_MD5, "8ba5a0c80f6fa96437090de91a8ac81de50026dda00d9539957e8e4ed5e414a0"),
        case(get, lobby_users, "", "", "", "49db6f3187af5b4d942ee8d1b1751faff5615ae3a6e4fb4cb0d3e575ee82df99"),
        case(post, terminate, "", "{}", empty_object_md5, "01fa634edeb0cae84115307cad5c23f65a46cd286461b1c89637a3b5871a8f0e"),
        case(post, terminate, "", "", "", "0bd2da4cd2c60cbe4627bea865cb306fda26121f3665d934db3e0f3f542a91f8"),
        case(post, "/apps/3/users/user@example.com/terminate_connections", "", "{}", empty_object_md5, "40bb227acf8db8d20ed46c861405569448b45a1fdfd34488db787a7b8509cefc"),
        case(get, channels, "filter_by_prefix=private-a=b@c,d;e", "", "", v30),
        case(get, channels, "filter_by_prefix=private-a%3Db%40c%2Cd%3Be", "", "", v30),
        case(post, "/apps/3/channels/project-3/events", "name=foo&socket_id=1234.1234", r#"{"some":"data"}"#, v33_md5, v33),
        case(post, events, "", B5, "616cc3ab39f8361923307dc0bbefbb27", "5b76b7bbb8eb0878700019d16dbc4be3fc62c80642b2ec6f7687dd51e955aa73"),
        case(post, events, "", B6, "c6349dde838d26ea53a27fb7a116f23f", "401059c02d6bef0604e6dd45a915a900594f9711c605a755d2c38b4f8378d42c"),
        case(get, "/apps/3/channels/cache-prices", "info=cache,subscription_count", "", "", "df1d9af25c203b2d8e3a9e910c1f307637cfb13aec62190930290bd9b6aefbea"),
        case(get, "/apps/3/channels/project-3", "", "", "", "c08059a6ed9e13bb0cab757005b2e42a82c11801fb569cd5948479f123c3bc90"),
        case(post, events, "channel=project-3&data=%7B%22some%22%3A%22data%22%7D&name=foo", "", "", v45),
        case(post, events, "channel=project-3&data={\"some\":\"data\"}&name=foo", "", "", v45),
        case(post, "/apps/3/batch_events", "", r#"{"batch":[]}"#, "4e9feb0af7bbbe99bbd54a9921eb4d82", "b903928d57a3ed79ce04e74d47b37b8de52be4beedff541eeb8beaf7a55dcfb5"),
    ];
    for case in cases {
        let shown = format!("{} {}?{}", case.method, case.path, case.query());
        assert_eq!(case.check(), Ok(()), "{shown}");
    }
}

#[test]
fn h12_v47_to_v49_published_strings() {
    let check = |(secret, request): (&str, &str), query: &str, digest: &str| {
        let text = format!(
            "{request}\n{}",
            to_sign(&Query::parse(query), ArrayForm::Joined)
        );
        assert_eq!(Secret::new(secret).sign(text.as_bytes()), digest, "{text}");
    };
    let get = ("tofu", "GET\n/event");
    check(
        get,
        "body_md5=165d5e6d7ca8f73b3853ce45addf42fc&auth_key=f00d&auth_version=1.0&auth_timestamp=1234567890",
        "a650196dc427ebe837226f8565ca9232198c6d1b9455eaa72374a9dc0b620e7b",
    );
    check(
        get,
        "foo=bar&baz=123454321&auth_key=f00d&auth_timestamp=1234567890&auth_version=1.0",
        "d8bdbd31911fb7400a14fbd36fd7de053494725b64400ae5856deafe304b34a9",
    );
    let post = ("secret", "POST\n/some/path");
    let go = "3b237953a5ba6619875cbb2a2d43e8da9ef5824e8a2c689f6284ac85bc1ea0db";
    let no_go = "da078fcedd72941b6c873caa40d0d6b2000ebfc700cee802b128dd20f72e74e9";
    for (extra, digest) in [
        ("query=params&go=here", go),
        ("Query=params&GO=here", go),
        ("query=params", no_go),
    ] {
        let query = format!("{extra}&auth_version=1.0&auth_timestamp=1234&auth_key=key");
        check(post, &query, digest);
    }
    for (body, digest) in [("", EMPTY_MD5), ("[]", "d751713988987e9331980363e24189ce")] {
        assert_eq!(hex::encode(Md5::digest(body)), digest);
    }
}

#[test]
fn h11_order_of_parameters_is_irrelevant() {
    let query = V26.query();
    let mut parts: Vec<&str> = query.split('&').collect();
    for _ in 0..parts.len() {
        parts.rotate_left(1);
        assert_eq!(check("GET", &[V26.path], &parts.join("&"), ""), Ok(()));
    }
    assert_eq!(check("get", &[V26.path], &query, ""), Ok(()));
}

#[test]
fn h13_query_values() {
    let check = |raw: &str, key: &str, expected: Option<&str>| {
        assert_eq!(Query::parse(raw).get(key), expected, "{raw}");
    };
    check("a=1&b=2", "b", Some("2"));
    check("a=1", "c", None);
    check("", "", None);
    check("a+b=c+d", "a b", Some("c d"));
    check("a=%2B%20%C3%BC", "a", Some("+ ü"));
    check("a", "a", Some(""));
    check("a=", "a", Some(""));
    check("a=1=2", "a", Some("1=2"));
    check("a=1&a=2&a=3", "a", Some("3"));
    check("A=1&a=2", "a", Some("2"));
    check("a=%zz%", "a", Some("%zz%"));
    check("a=%ff", "a", Some("\u{fffd}"));
    check("a[]=1&a[]=2", "a", Some("1,2"));
    check("a[0]=1&a%5B1%5D=2", "a", Some("1,2"));
    check("a[]=1", "a[]", None);
    check("a[b]=1", "a[b]", Some("1"));
    check("[]=1", "[]", Some("1"));
    check("a[]=1&a=2", "a", Some("2"));
    check("info=a,b", "info", Some("a,b"));
}

#[test]
fn h13_values_of_arrays() {
    let check = |raw: &str, expected: &[&str]| {
        assert_eq!(Query::parse(raw).get_all("channels"), expected, "{raw}");
    };
    check("", &[]);
    check("channels=a,b", &["a,b"]);
    check("channels[]=a&x=1&channels[]=b", &["a", "b"]);
    check("channels[0]=a&Channels[1]=b", &["a", "b"]);
    check("channels[]=", &[""]);
}

fn to_sign(query: &Query, form: ArrayForm) -> String {
    let mut text = String::new();
    query.to_sign(form, &mut text);
    text
}

#[test]
fn h13_string_to_sign() {
    let check = |raw: &str, a: &str, b: &str| {
        let query = Query::parse(raw);
        assert_eq!(to_sign(&query, ArrayForm::Repeated), a);
        assert_eq!(to_sign(&query, ArrayForm::Joined), b);
    };
    check("", "", "");
    check(
        "b=2&auth_signature=x&a=1&AUTH_SIGNATURE=y",
        "a=1&b=2",
        "a=1&b=2",
    );
    check("flag&b=%2C", "b=,&flag=", "b=,&flag=");
    check("a=1&a=2", "a=2", "a=2");
    check(
        "k[1]=b&k[0]=a&ka=0&j=1",
        "j=1&k[]=b&k[]=a&ka=0",
        "j=1&k=b,a&ka=0",
    );
}

#[test]
fn h13_v31_v32_arrays_in_either_form() {
    let v31 = "175192df3115c9975cc5fa47eec612907413e243ddbfa27967814593f0e0bf82";
    let v32 = "b5d3066c50a4e758b7d677e4f65cf6e909baab523911ba9dea505a65412149e6";
    let path = "/apps/3/channels";
    for extra in [
        "info[]=user_count&info[]=subscription_count",
        "info%5B%5D=user_count&info%5B%5D=subscription_count",
        "info[0]=user_count&info[1]=subscription_count",
        "info%5B0%5D=user_count&info%5B1%5D=subscription_count",
    ] {
        for signature in [v31, v32] {
            assert_eq!(case("GET", path, extra, "", "", signature).check(), Ok(()));
        }
    }
}

#[test]
fn h14_first_failure_in_order() {
    let check = |query: &str, expected: &str| {
        check_text(check("POST", &[V20.path], query, B1), expected, query);
    };
    check("", "Missing parameter: auth_key");
    check("auth_key=unknown", "Unknown auth_key");
    check("auth_key=", "Unknown auth_key");
    let upper = format!("auth_key={}", KEY.to_uppercase());
    check(&upper, "Unknown auth_key");
    let query = format!("auth_key={KEY}");
    check(&query, "Version required");
    check(
        &format!("{query}&auth_version=1.1"),
        "Version not supported",
    );
    let query = format!("{query}&auth_version=1.0");
    check(&query, "Timestamp required");
    for no_integer in [
        "",
        "x",
        "1353088179.5",
        "1e9",
        "0x5",
        " 1353088179",
        "99999999999999999999",
    ] {
        let query = format!("{query}&auth_timestamp={no_integer}");
        check(&query, "Timestamp required");
    }
    check(&format!("{query}&auth_timestamp=0"), EXPIRED);
    let query = format!("{query}&auth_timestamp={NOW_S}");
    check(&query, WRONG_SIGNATURE);
    let signed = to_sign(&Query::parse(&query), ArrayForm::Joined);
    let digest = secret().sign(format!("POST\n{}\n{signed}", V20.path).as_bytes());
    let query = format!("{query}&auth_signature={digest}");
    check(&query, "Invalid body_md5");
    assert_eq!(V20.check(), Ok(()));
}

#[test]
fn h14_clock_cases() {
    let behind = "Timestamp expired: Given timestamp (2012-11-16T17:49:39Z) not within 600s of server time (2012-11-16T17:59:39Z) - the sender's clock is 600 s behind";
    let ahead = "Timestamp expired: …the sender's clock is 7200 s ahead";
    for (now_s, window_s, expected) in [
        (1_353_088_179, 600, OK),
        (1_353_088_778, 600, OK),
        (1_353_087_580, 600, OK),
        (1_353_088_779, 600, behind),
        (1_353_087_579, 600, EXPIRED),
        (1_353_080_979, 600, ahead),
        (0, 600, EXPIRED),
        (u64::MAX, 600, EXPIRED),
        // the window is a setting, 0 switches it off
        (5, 0, OK),
        (NOW_S + 10, 10, EXPIRED),
        (NOW_S + 9, 10, OK),
    ] {
        let checked = check_at(now_s, window_s, "GET", &[V24.path], &V24.query(), "");
        check_text(checked, expected, &format!("{now_s} {window_s}"));
    }
    // any integer is a time
    for odd in [
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "1353088179000",
    ] {
        let query = format!("auth_key={KEY}&auth_version=1.0&auth_timestamp={odd}");
        check_text(check("GET", &["/"], &query, ""), EXPIRED, odd);
    }
}

#[test]
fn h14_times_in_texts() {
    for (unix_s, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (1_353_088_179, "2012-11-16T17:49:39Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (951_868_800, "2000-03-01T00:00:00Z"),
        (1_709_164_800, "2024-02-29T00:00:00Z"),
        (1_735_689_599, "2024-12-31T23:59:59Z"),
        (1_735_689_600, "2025-01-01T00:00:00Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
        (-62_167_219_200, "0000-01-01T00:00:00Z"),
        (253_402_300_800, "10000-01-01T00:00:00Z"),
    ] {
        assert_eq!(utc(unix_s), text);
    }
}

#[test]
fn h14_negative_cases_of_v20() {
    let other_body = r#"{"name":"fop","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
    #[rustfmt::skip]
    let cases = [
        (Case { body: other_body, ..V20 }, "Invalid body_md5"),
        (Case { body: "", ..V20 }, "Invalid body_md5"),
        (Case { body_md5: "", ..V20 }, WRONG_SIGNATURE),
        (Case { signature: "", ..V20 }, WRONG_SIGNATURE),
        (Case { signature: "x", ..V20 }, WRONG_SIGNATURE),
        (Case { method: "PUT", ..V20 }, WRONG_SIGNATURE),
        (Case { path: "/apps/3/event", ..V20 }, WRONG_SIGNATURE),
        (Case { extra: "info=a", ..V20 }, WRONG_SIGNATURE),
    ];
    for (case, expected) in cases {
        let shown = format!("{} {}?{}", case.method, case.path, case.query());
        check_text(case.check(), expected, &shown);
    }
    let query = V20.query();
    for (from, to, expected) in [
        (
            "auth_version=1.0",
            "auth_version=1.1",
            "Version not supported",
        ),
        (KEY, "unknown", "Unknown auth_key"),
        // an upper-case signature is accepted
        (V20.signature, &V20.signature.to_uppercase(), OK),
    ] {
        let query = query.replace(from, to);
        check_text(check("POST", &[V20.path], &query, B1), expected, &query);
    }
    // another app's secret
    let request = SignedRequest {
        method: "POST",
        paths: &[V20.path],
        query: &Query::parse(&query),
        body: B1.as_bytes(),
    };
    let other = Secret::new("0a1b2c3d4e5f60718293");
    let checked = check_request(&request, KEY, &other, NOW_S, 600);
    check_text(checked, WRONG_SIGNATURE, "another secret");
}

#[test]
fn h14_text_of_a_wrong_signature() {
    let case = Case {
        signature: "abc",
        ..V20
    };
    let expected = r#"Invalid signature: you should have sent HmacSHA256Hex("POST\n/apps/3/events\nauth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f", your_secret_key), but you sent "abc" - check that the app secret here and in the sender's configuration are the same"#;
    check_text(case.check(), expected, "abc");
    let refused = |more: &str| {
        let query = format!("{}&{more}", V24.query());
        check("GET", &[V24.path], &query, "").unwrap_err()
    };
    let signature = "%0a".repeat(5_000);
    let error = refused(&format!("x=%0A%0D%00%1b&auth_signature={signature}"));
    let text = error.to_string();
    assert!(!text.contains(char::is_control), "{text}");
    assert!(text.chars().count() < 2_000 && text.contains('…'));
    assert!(!format!("{text} {error:?}").contains(SECRET));
    let long = refused(&format!("x={}", "ü".repeat(60_000)));
    assert!(long.to_string().len() < 2_000);
}

#[test]
fn h15_any_form_of_the_path() {
    let query = V24.query();
    let check = |paths: &[&str], expected: &str| {
        let checked = check("GET", paths, &query, "");
        check_text(checked, expected, &paths.join(" "));
    };
    check(&["/prefix/apps/3/channels", "/apps/3/channels"], OK);
    check(&["/apps/3/channels", "/x"], OK);
    check(&["/prefix/apps/3/channels"], WRONG_SIGNATURE);
    check(&[], WRONG_SIGNATURE);
}

#[test]
fn h16_body_md5_of_nothing() {
    let check = |body_md5: &str, body: &str, expected: &str| {
        let query =
            format!("auth_key={KEY}&auth_timestamp={NOW_S}&auth_version=1.0&body_md5={body_md5}");
        let digest = secret().sign(format!("GET\n{}\n{query}", V24.path).as_bytes());
        let query = format!("{query}&auth_signature={digest}");
        check_text(check("GET", &[V24.path], &query, body), expected, body_md5);
    };
    check(EMPTY_MD5, "", OK);
    check("", "", "Invalid body_md5");
    check("x", "", "Invalid body_md5");
    check(EMPTY_MD5, "{}", "Invalid body_md5");
    check(&EMPTY_MD5.to_uppercase(), "", "Invalid body_md5");
}

#[test]
fn random_queries_never_panic() {
    let mut random = Random(13);
    for _ in 0..20_000 {
        let raw = random.text("auth_signature=&k[]0%2Cf+ü");
        let query = Query::parse(&raw);
        let _ = (to_sign(&query, ArrayForm::Repeated), query.get_all("k"));
        let _ = check("GET", &["/"], &raw, "");
        let _ = utc(random.next() as i64);
    }
}

#[test]
fn many_parameters_take_linear_time() {
    let query = Query::parse(&"a[]=1&a=2&b&".repeat(100_000));
    assert_eq!(
        to_sign(&query, ArrayForm::Joined).split('&').count(),
        3,
        "each name once"
    );
}

use super::*;

pub fn limits() -> AppLimits {
    AppLimits {
        connections_max: None,
        channels_max: 1000,
        channels_per_connection_max: 1000,
        message_bytes_max: 65_536,
        message_rate: None,
        client_events_per_s: None,
        backend_events_per_s: None,
        read_requests_per_s: None,
        client_event_data_bytes_max: 10_240,
        channel_name_chars_max: 200,
        event_name_chars_max: 200,
        event_data_bytes_max: 10_240,
        channels_per_event_max: 100,
        batch_events_max: 10,
        presence_members_max: None,
        presence_user_id_chars_max: 128,
        presence_user_info_bytes_max: 10_240,
        cache_ttl_s: 1800,
        timestamp_window_s: 600,
    }
}

fn parse_text<'a>(
    body: Option<&'a str>,
    query: &'a Query,
    limits: &AppLimits,
) -> Result<(Message<'a>, Vec<ChannelName>), ApiError> {
    parse(&Fields::read(body)?, query, limits)
}

/// What a trigger comes to: name, data token, channels.
fn accepted(body: &str, query: &str, expected: (&str, &str, &[&str])) {
    let query = Query::parse(query);
    let body = Some(body).filter(|body| !body.is_empty());
    let (message, channels) =
        parse_text(body, &query, &limits()).unwrap_or_else(|error| panic!("{body:?}: {error}"));
    let channels: Vec<&str> = channels.iter().map(ChannelName::as_str).collect();
    assert_eq!(
        (
            message.name.as_ref(),
            message.data.as_json(),
            channels.as_slice()
        ),
        expected
    );
}

fn refused(body: &str, expected: ApiError) {
    refused_with(body, "", expected);
}

fn refused_with(body: &str, query: &str, expected: ApiError) {
    let query = Query::parse(query);
    let body = Some(body).filter(|body| !body.is_empty());
    let error = parse_text(body, &query, &limits()).err();
    assert_eq!(error, Some(expected), "{body:?}");
}

#[test]
fn h20_bodies_of_every_sdk() {
    let data = r#""{\"some\":\"data\"}""#;
    let expected = ("foo", data, ["project-3"].as_slice());
    for body in [
        // V-20 (node), V-21 (php), python, with null, both forms, unknown members, blanks
        r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#,
        r#"{"name":"foo","data":"{\"some\":\"data\"}","channel":"project-3"}"#,
        r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}","socket_id":null}"#,
        r#"{"name":"foo","channels":["project-3"],"channel":"x","data":"{\"some\":\"data\"}"}"#,
        r#"{"name":"foo","channels":null,"channel":"project-3","data":"{\"some\":\"data\"}"}"#,
        r#"{"a":[{}],"name":"foo","channel":"project-3","data":"{\"some\":\"data\"}","z":null}"#,
        " \r\n\t{ \"name\" : \"f\\u006fo\" , \"channel\" : \"project\\u002d3\", \"data\":\"{\\\"some\\\":\\\"data\\\"}\" } \n",
    ] {
        accepted(body, "", expected);
    }
}

#[test]
fn h20_data_keeps_its_bytes() {
    let data = r#""h\u00e9llo \/ \"w\u00f6rld\" Žofie 🚀""#;
    let body = format!(r#"{{"name":"App\\Events\\Ping","data":{data},"channel":"a"}}"#);
    accepted(&body, "", (r"App\Events\Ping", data, &["a"]));
    accepted(
        r#"{"name":"n","data":"","channel":"a"}"#,
        "",
        ("n", r#""""#, &["a"]),
    );
    accepted(
        r#"{"name":"n","data":{"b": 1},"channel":"a"}"#,
        "",
        ("n", r#""{\"b\": 1}""#, &["a"]),
    );
}

#[test]
fn h20_fields_may_come_in_the_query() {
    // V-45
    let data = r#""{\"some\":\"data\"}""#;
    accepted(
        "",
        "channel=project-3&data=%7B%22some%22%3A%22data%22%7D&name=foo",
        ("foo", data, &["project-3"]),
    );
    accepted(
        r#"{"data":"d"}"#,
        "name=foo&channels[]=a&channels[]=b&channel=c",
        ("foo", r#""d""#, &["a", "b"]),
    );
    // the body wins
    accepted(
        r#"{"data":"d","name":"foo","channel":"a"}"#,
        "name=bar&channels[]=b&data=e",
        ("foo", r#""d""#, &["a"]),
    );
}

#[test]
fn h21_not_an_object() {
    for body in ["[]", "1", "null", r#""text""#, r#"["foo","d",["a"]]"#] {
        refused(body, ApiError::InvalidJson("expected an object".into()));
    }
}

#[test]
fn h21_duplicate_members() {
    let query = Query::parse("");
    for body in [
        r#"{"name":"a","name":"b","channel":"c","data":""}"#,
        r#"{"name":"a","channel":"c","channel":"c","data":""}"#,
        r#"{"name":"a","channel":"c","d\u0061ta":"","data":""}"#,
    ] {
        let error = parse_text(Some(body), &query, &limits())
            .map(|_| ())
            .expect_err(body);
        assert!(
            error
                .to_string()
                .starts_with("Invalid JSON: duplicate field"),
            "{error}"
        );
    }
}

#[test]
fn h21_name() {
    for name in ["null", "1", "{}", "[\"a\"]", "true"] {
        refused(
            &format!(r#"{{"name":{name},"data":"","channel":"a"}}"#),
            ApiError::NameNotString,
        );
    }
    refused(r#"{"data":"","channel":"a"}"#, ApiError::NameNotString);
    refused("", ApiError::NameNotString);
    refused(
        r#"{"name":"","data":"","channel":"a"}"#,
        ApiError::NameEmpty,
    );
    let named = |name: &str| format!(r#"{{"name":"{name}","data":"","channel":"a"}}"#);
    let (fits, long) = ("ž".repeat(200), "ž".repeat(201));
    accepted(&named(&fits), "", (&fits, r#""""#, &["a"]));
    refused(&named(&long), ApiError::NameTooLong(200));
    refused(&named("pusher:ping"), ApiError::NameReserved);
    refused(&named("pusher_internal:x"), ApiError::NameReserved);
    for name in ["client-x", "pusher", "pusherx:y", "Pusher:x"] {
        accepted(&named(name), "", (name, r#""""#, &["a"]));
    }
}

#[test]
fn h21_data() {
    refused(r#"{"name":"n","channel":"a"}"#, ApiError::Missing("data"));
    refused(
        r#"{"name":"n","channel":"a","data":null}"#,
        ApiError::Missing("data"),
    );
    let body = |data: &str| format!(r#"{{"name":"n","channel":"a","data":"{data}"}}"#);
    let fits = "x".repeat(10_240);
    accepted(&body(&fits), "", ("n", &format!("\"{fits}\""), &["a"]));
    refused(&body(&(fits + "x")), ApiError::DataTooLarge(10_240));
    // 5121 escaped characters of two bytes each
    refused(
        &body(&r"\u00e9".repeat(5121)),
        ApiError::DataTooLarge(10_240),
    );
}

#[test]
fn h21_channels() {
    for part in [
        r#""x":1"#,
        r#""channels":[]"#,
        r#""channels":[],"channel":"a""#,
        r#""channels":"a""#,
        r#""channels":{"0":"a"}"#,
        r#""channels":["a",1]"#,
        r#""channels":["a",null]"#,
        r#""channels":[["a"]]"#,
        r#""channel":["a"]"#,
        r#""channel":7"#,
        r#""channel":null"#,
    ] {
        refused(
            &format!(r#"{{"name":"n","data":"",{part}}}"#),
            ApiError::Missing("channels"),
        );
    }
    for name in ["a b", "", "#private", "žluť", "a/b"] {
        refused(
            &format!(r#"{{"name":"n","data":"","channels":["ok","{name}"]}}"#),
            ApiError::InvalidChannelName(name.into()),
        );
    }
    let long = "a".repeat(1_000_000);
    refused(
        &format!(r#"{{"name":"n","data":"","channel":"{long}"}}"#),
        ApiError::InvalidChannelName(long),
    );
}

fn many(count: usize) -> (String, Vec<String>) {
    let names: Vec<String> = (0..count).map(|i| format!("c{i}")).collect();
    let list = serde_json::to_string(&names).unwrap();
    (
        format!(r#"{{"name":"n","data":"","channels":{list}}}"#),
        names,
    )
}

#[test]
fn l4_at_most_100_channels() {
    let (body, names) = many(100);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    accepted(&body, "", ("n", r#""""#, &names));
    refused(&many(101).0, ApiError::TooManyChannels(100));
}

#[test]
fn h22_duplicates_once_in_order() {
    accepted(
        r#"{"name":"n","data":"","channels":["b","a","b","c","a"]}"#,
        "",
        ("n", r#""""#, &["b", "a", "c"]),
    );
}

#[test]
fn h24_socket_id() {
    let parsed = |id: &str, query: &str| {
        let body = format!(r#"{{"name":"n","data":"","channel":"a","socket_id":{id}}}"#);
        let query = Query::parse(query);
        parse_text(Some(&body), &query, &limits()).map(|(message, _)| message.except)
    };
    assert_eq!(parsed("null", ""), Ok(None));
    let id = SocketId::new(1234, 5678);
    assert_eq!(parsed(r#""1234.5678""#, ""), Ok(Some(id)));
    assert_eq!(parsed(r#""1234.5678""#, "socket_id=1.1"), Ok(Some(id)));
    assert_eq!(parsed("null", "socket_id=1234.5678"), Ok(Some(id)));
    for (json, shown) in [
        (r#""""#, ""),
        (r#""1234""#, "1234"),
        (r#""1.2.3""#, "1.2.3"),
        (r#""-1.2""#, "-1.2"),
        ("1234.5678", "1234.5678"),
        ("{}", "{}"),
    ] {
        assert_eq!(
            parsed(json, ""),
            Err(ApiError::InvalidSocketId(shown.into()))
        );
    }
    refused_with(
        r#"{"name":"n","data":"","channel":"a"}"#,
        "socket_id=x",
        ApiError::InvalidSocketId("x".into()),
    );
}

#[test]
fn h25_user_channels() {
    accepted(
        r##"{"name":"n","data":"","channel":"#server-to-user-12345"}"##,
        "",
        ("n", r#""""#, &["#server-to-user-12345"]),
    );
}

#[test]
fn h26_info_is_a_string() {
    for info in ["1", "{}", r#"["user_count"]"#] {
        refused(
            &format!(r#"{{"name":"n","data":"","channel":"a","info":{info}}}"#),
            ApiError::InfoNotString,
        );
    }
}

#[test]
fn random_bytes_never_panic() {
    let seed = [
        r#"{"name":"foo","data":{"a":[1,"\u00e9"]},"channels":["a","b"],"socket_id":"1.2","info":"user_count"}"#,
        r#"{"batch":[{"name":"n"}]}"#,
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let query = Query::parse("");
    for round in 0..20_000 {
        let mut bytes = seed[round % seed.len()].as_bytes().to_vec();
        for _ in 0..1 + next() % 4 {
            let at = next() % bytes.len();
            bytes[at] = b"\"{}[],:\\u0 \x00\xffn"[next() % 14];
        }
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        if crate::protocol::json::is_well_formed(&text) {
            let _ = parse_text(Some(&text), &query, &limits());
        }
    }
}

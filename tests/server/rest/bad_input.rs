//! What no client should send. Each case gets an answer or a closed connection, and the server goes on serving.
use super::request::{APP_ID, Connection, Unsigned, md5_hex, post, request_head, send};
use crate::helpers::Server;

const BODY: &str = r#"{"name":"n","channel":"a","data":"x"}"#;

fn events() -> String {
    format!("/apps/{APP_ID}/events")
}

fn target(body: &[u8]) -> String {
    Unsigned::new("POST", &events(), body).sign()
}

async fn still_serves(server: &Server) {
    post(server, "/events", BODY).await.assert_json("{}");
}

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be() {
    let server = Server::start().await;
    let deep = "[".repeat(50_000);
    let deep_closed = format!(r#"{{"data":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    let deep_objects = r#"{"data":"#.repeat(50_000);
    for (body, text) in [
        (
            b"\xff\xfe{}".as_slice(),
            "The request body is not valid UTF-8 (byte 0)",
        ),
        (
            b"{\"name\":\"\xc3\x28\"}",
            "The request body is not valid UTF-8 (byte 9)",
        ),
        (b"\xef\xbb\xbf{}", "Invalid JSON"),
        (b"{\"name\":\"a\x00b\"}", "Invalid JSON"),
        (
            br#"{"name":"\ud800","channel":"a","data":""}"#,
            "Invalid JSON",
        ),
        (
            br#"{"name":"n","channel":"a","data":"\udc00\ud800"}"#,
            "Invalid JSON",
        ),
        (
            br#"{"name":"n","name":"m","channel":"a","data":""}"#,
            "Invalid JSON: duplicate field",
        ),
        (b"null", "Invalid JSON"),
        (b"nul", "Invalid JSON"),
        (b" ", "Invalid JSON"),
        (b"name=n&channel=a", "Invalid JSON"),
        (deep.as_bytes(), "Invalid JSON"),
        (deep_closed.as_bytes(), "Invalid JSON"),
        (deep_objects.as_bytes(), "Invalid JSON"),
    ] {
        send(&server, "POST", &target(body), body)
            .await
            .assert_refused(400, text);
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn l6_bodies_over_the_limit() {
    let server = Server::start().await;
    let limit = 1_048_576;
    let sentence = |bytes| {
        format!(
            "Payload too large: {bytes} bytes, limit {limit} (server.request_bytes_max, REVERB_MAX_REQUEST_SIZE)"
        )
    };
    // refused before it is sent
    let mut connection = Connection::open(server.addr).await;
    connection
        .send(request_head("POST", &events(), limit + 1))
        .await;
    connection
        .response()
        .await
        .assert_refused(413, &sentence(limit + 1));

    // sent whole nevertheless: the answer arrives, no reset hides it
    let body = vec![b'x'; limit + 1];
    let answer = send(&server, "POST", &target(&body), &body).await;
    answer.assert_refused(413, &sentence(limit + 1));

    // chunked: counted as it comes
    let mut connection = Connection::open(server.addr).await;
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        target(b"")
    );
    connection.send(head).await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..17 {
        connection.send(&chunk).await;
    }
    connection
        .response()
        .await
        .assert_refused(413, "Payload too large: ");

    // just fits
    let body = vec![b' '; limit];
    let answer = send(&server, "POST", &target(&body), &body).await;
    answer.assert_refused(400, "Invalid JSON");
    still_serves(&server).await;
}

#[tokio::test]
async fn names_of_a_megabyte() {
    let server = Server::start().await;
    let long = "a".repeat(1_000_000);
    let body = format!(r#"{{"name":"n","channel":"{long}","data":""}}"#);
    let answer = post(&server, "/events", &body).await;
    answer.assert_refused(400, "Invalid channel name: aaaa");
    assert!(answer.body.len() < 500, "{}", answer.body.len());
    let body = format!(r#"{{"name":"{long}","channel":"a","data":""}}"#);
    post(&server, "/events", &body)
        .await
        .assert_refused(400, "Event name is too long");

    // in the request line it is more than any header block may take
    let mut connection = Connection::open(server.addr).await;
    connection
        .send(request_head(
            "GET",
            &format!("/apps/{APP_ID}/channels/{long}"),
            0,
        ))
        .await;
    let answer = connection.try_response(true).await;
    assert!(answer.is_none_or(|answer| (400..500).contains(&answer.status)));
    still_serves(&server).await;
}

#[tokio::test]
async fn content_length_that_is_wrong() {
    let server = Server::start().await;
    // shorter than what follows: the body doesn't match its md5, what is left is no request
    let mut connection = Connection::open(server.addr).await;
    connection
        .send(request_head("POST", &target(BODY.as_bytes()), 10))
        .await;
    connection.send(BODY).await;
    connection
        .response()
        .await
        .assert_refused(401, "Invalid body_md5");
    let next = connection.try_response(true).await;
    assert!(next.is_none_or(|answer| answer.status == 400));

    // longer, then nothing more: the request never became whole
    let mut connection = Connection::open(server.addr).await;
    connection
        .send(request_head(
            "POST",
            &target(BODY.as_bytes()),
            BODY.len() + 5,
        ))
        .await;
    connection.send(BODY).await;
    connection.finish_sending().await;
    let answer = connection.try_response(true).await;
    assert!(answer.is_none_or(|answer| answer.status == 400));

    for lengths in [
        "Content-Length: 37\r\nContent-Length: 37\r\n",
        "Content-Length: 37\r\nContent-Length: 5\r\n",
        "Content-Length: 37, 37\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: +37\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length: x\r\n",
        "Content-Length: 37\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let mut connection = Connection::open(server.addr).await;
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: x\r\n{lengths}\r\n",
            target(BODY.as_bytes())
        );
        connection.send(head + BODY).await;
        let answer = connection.try_response(true).await;
        assert!(
            answer.is_none_or(|answer| answer.status >= 400),
            "{lengths}"
        );
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn bytes_that_are_not_http() {
    let server = Server::start().await;
    for bytes in [
        b"\x00\x01\x02\x03\r\n\r\n".as_slice(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /up HTTP/9.9\r\n\r\n",
        b"GET /up HTTP/1.1\r\nNo colon here\r\n\r\n",
        b"GET /u\x80p HTTP/1.1\r\nHost: \xff\xff\r\n\r\n",
        b"POST /apps/3/events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut connection = Connection::open(server.addr).await;
        connection.send(bytes).await;
        connection.finish_sending().await;
        let answer = connection.try_response(true).await;
        assert!(
            answer.is_none_or(|answer| (400..600).contains(&answer.status)),
            "{bytes:?}"
        );
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn h17_a_refusal_keeps_the_connection() {
    let server = Server::start().await;
    let mut connection = Connection::open(server.addr).await;
    for body in ["{", "[]"] {
        connection
            .send_request("POST", &target(body.as_bytes()), body.as_bytes())
            .await;
        connection
            .response()
            .await
            .assert_refused(400, "Invalid JSON");
    }
    connection.send_request("GET", "/nowhere", b"").await;
    connection.response().await.assert_refused(404, "Not found");
    connection
        .send_request("POST", &target(BODY.as_bytes()), BODY.as_bytes())
        .await;
    connection.response().await.assert_json("{}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::start().await;
    let good = request_head("POST", &target(BODY.as_bytes()), BODY.len()) + BODY;
    let bad = request_head("POST", &target(b"{"), 1) + "{";
    let mut connection = Connection::open(server.addr).await;
    connection
        .send([good.as_str(), &bad, &good, &bad].concat())
        .await;
    for _ in 0..2 {
        connection.response().await.assert_json("{}");
        connection
            .response()
            .await
            .assert_refused(400, "Invalid JSON");
    }
}

#[tokio::test]
async fn duplicate_parameters_the_last_wins() {
    let server = Server::start().await;
    // signed with the last value, as H-13 has it
    let signed = target(BODY.as_bytes());
    let doubled = signed.replace("?auth_key=", "?auth_key=first&auth_key=");
    send(&server, "POST", &doubled, BODY.as_bytes())
        .await
        .assert_json("{}");
    let shadowed = format!("{signed}&body_md5={}", md5_hex(b"other"));
    let answer = send(&server, "POST", &shadowed, BODY.as_bytes()).await;
    answer.assert_refused(401, "Invalid signature");
}

#[tokio::test]
async fn queries_of_nonsense() {
    let server = Server::start().await;
    for query in [
        "",
        "&&&&",
        "=",
        "%",
        "%zz=%ff",
        "a[]=1&a[=2&[]=3",
        "auth_key",
        "auth_key[]=x",
    ] {
        let answer = send(&server, "POST", &format!("{}?{query}", events()), b"{}").await;
        answer.assert_refused(401, "");
    }
    still_serves(&server).await;
}

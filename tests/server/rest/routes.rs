use super::request::{APP_ID, Connection, KEY, Unsigned, request_head, send};
use crate::helpers::Server;

#[tokio::test]
async fn c5_the_websocket_path_without_upgrade() {
    let server = Server::start().await;
    let answer = send(&server, "GET", &format!("/app/{KEY}"), b"").await;
    answer.assert_refused(426, "This is the WebSocket endpoint");
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    let answer = send(&server, "POST", &format!("/app/{KEY}"), b"").await;
    answer.assert_refused(405, "Method POST is not allowed here, use GET");
    assert_eq!(answer.header("allow"), Some("GET"));
}

#[tokio::test]
async fn c5_unknown_paths() {
    let server = Server::start().await;
    for path in [
        "/nothing",
        "/apps",
        "/apps/3",
        "/apps/3/events/",
        "//",
        "/app/",
        "/%00",
    ] {
        send(&server, "GET", path, b"")
            .await
            .assert_refused(404, "Not found");
    }
}

#[tokio::test]
async fn h19_wrong_method_names_the_right_one() {
    let server = Server::start().await;
    // what a redirect from http to https makes of a publish
    let answer = send(&server, "GET", &format!("/apps/{APP_ID}/events"), b"").await;
    answer.assert_refused(405, "Method GET is not allowed here, use POST (a redirect");
    assert_eq!(answer.header("allow"), Some("POST"));
    for method in ["POST", "DELETE", "BREW"] {
        let answer = send(&server, method, &format!("/apps/{APP_ID}/channels"), b"").await;
        answer.assert_refused(
            405,
            &format!("Method {method} is not allowed here, use GET"),
        );
        assert_eq!(answer.header("allow"), Some("GET"));
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = Server::start().await;
    let mut connection = Connection::open(server.addr).await;
    let signed = Unsigned::new("HEAD", &format!("/apps/{APP_ID}/channels"), b"").sign();
    for target in ["/up", signed.as_str()] {
        connection.send(request_head("HEAD", target, 0)).await;
        let answer = connection.response_to_head().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    // nothing of a body is in the way of the next answer
    connection.send(request_head("GET", "/up", 0)).await;
    connection
        .response()
        .await
        .assert_json(r#"{"health":"OK"}"#);
}

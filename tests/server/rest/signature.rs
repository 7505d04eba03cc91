use super::request::{APP_ID, Response, Unsigned, md5_hex, now_s, send};
use crate::helpers::Server;

const BODY: &str = r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;

fn publish() -> Unsigned {
    Unsigned::new("POST", &format!("/apps/{APP_ID}/events"), BODY.as_bytes())
}

async fn sent(server: &Server, request: Unsigned) -> Response {
    send(server, "POST", &request.sign(), BODY.as_bytes()).await
}

#[tokio::test]
async fn h14_checks_in_their_order() {
    let server = Server::start().await;
    let unknown = Unsigned::new("POST", "/apps/999/events", BODY.as_bytes());
    sent(&server, unknown)
        .await
        .assert_refused(404, "No matching application for ID [999]");
    let old = (now_s() - 601).to_string();
    let ahead = (now_s() + 700).to_string();
    for (request, text) in [
        (publish().without("auth_key"), "Missing parameter: auth_key"),
        (publish().with("auth_key", "unknown"), "Unknown auth_key"),
        (publish().without("auth_version"), "Version required"),
        (
            publish().with("auth_version", "1.1"),
            "Version not supported",
        ),
        (publish().without("auth_timestamp"), "Timestamp required"),
        (
            publish().with("auth_timestamp", "soon"),
            "Timestamp required",
        ),
        (
            publish().with("auth_timestamp", &old),
            "Timestamp expired: Given timestamp (",
        ),
        (
            publish().with("auth_timestamp", &ahead),
            "Timestamp expired: Given timestamp (",
        ),
        (publish().without("body_md5"), "Invalid body_md5"),
        (
            publish().with("body_md5", &md5_hex(b"other")),
            "Invalid body_md5",
        ),
    ] {
        sent(&server, request).await.assert_refused(401, text);
    }
    let mut foreign = publish();
    foreign.secret = "another".to_owned();
    sent(&server, foreign).await.assert_refused(
        401,
        r#"Invalid signature: you should have sent HmacSHA256Hex("POST\n/apps/3/events\nauth_key="#,
    );
}

#[tokio::test]
async fn h14_a_signature_covers_its_parameters() {
    let server = Server::start().await;
    let target = publish().sign();
    for (request, what) in [
        (
            target.replace("auth_version", "AUTH_VERSION"),
            "keys are lower-cased",
        ),
        (target.clone(), "as signed"),
    ] {
        let answer = send(&server, "POST", &request, BODY.as_bytes()).await;
        assert_eq!(answer.status, 200, "{what}: {}", answer.body);
    }
    let more = format!("{target}&info=user_count");
    send(&server, "POST", &more, BODY.as_bytes())
        .await
        .assert_refused(401, "Invalid signature");
}

#[tokio::test]
async fn h16_python_sends_the_md5_of_nothing() {
    let server = Server::start().await;
    // V-27
    let target = Unsigned::new(
        "GET",
        &format!("/apps/{APP_ID}/channels/presence-lobby/users"),
        b"",
    )
    .with("body_md5", "d41d8cd98f00b204e9800998ecf8427e")
    .sign();
    send(&server, "GET", &target, b"")
        .await
        .assert_json(r#"{"users":[]}"#);
}

#[tokio::test]
async fn h15_path_may_be_signed_decoded() {
    let server = Server::start().await;
    let request = Unsigned::new("GET", &format!("/apps/{APP_ID}/channels/a%2Cb"), b"");
    let target = request.sign_as(&format!("/apps/{APP_ID}/channels/a,b"));
    send(&server, "GET", &target, b"")
        .await
        .assert_json(r#"{"occupied":false}"#);
    let target = request.sign_as(&format!("/apps/{APP_ID}/channels/other"));
    send(&server, "GET", &target, b"")
        .await
        .assert_refused(401, "Invalid signature");
}

use super::request::{APP_ID, send};
use crate::helpers::Server;

#[tokio::test]
async fn h36_health_needs_no_signature() {
    let server = Server::start().await;
    for path in ["/up".to_owned(), format!("/up/{APP_ID}")] {
        let answer = send(&server, "GET", &path, b"").await;
        answer.assert_json(r#"{"health":"OK"}"#);
        assert_eq!(answer.header("x-health-check"), Some("OK"));
    }
    for path in ["/", "/ready", "/live", "/?x=y"] {
        let answer = send(&server, "GET", path, b"").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "OK"), "{path}");
    }
    let answer = send(&server, "GET", "/accept-traffic", b"").await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with('{'), "{}", answer.body);
    send(&server, "GET", "/up/nobody", b"")
        .await
        .assert_refused(404, "No matching application for ID [nobody]");
}

//! The admin listener of the real server: metrics after traffic whose counts are known, health while it drains, the live
//! stream, and `resound tail --admin`.
#[allow(dead_code)]
#[path = "../server/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../server/helpers.rs"]
mod helpers;
mod listener;
mod metrics;
mod page;
mod rest;
mod stream;
mod tail;

use helpers::Server;
use rest::request::{Connection, Response};

/// A port for the admin listener, which the tests' servers otherwise go without.
pub const ADMIN: &str = "[admin]\nport = 0\n";

/// One GET of the admin listener.
pub async fn admin_get(server: &Server, target: &str, headers: &str) -> Response {
    let address = server.admin.expect("an admin listener");
    let mut connection = Connection::open(address).await;
    let head = format!("GET {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\n");
    connection.send(head).await;
    connection.response().await
}

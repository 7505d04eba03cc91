//! What one address may do, and what an app may do in a second. Clients at many addresses are what a trusted proxy says they
//! are: tests connect from loopback, which is trusted, and name an address.
mod addresses;
mod allowances;

use crate::helpers::Server;
use crate::rest::request::{Connection, Response};

const FORWARDED: &str = "x-forwarded-for";
const SOMEBODY: &str = "198.51.100.1";
const OTHER: &str = "198.51.100.2";

/// One request from this address.
async fn send_from(address: &str, server: &Server, method: &str, target: &str) -> Response {
    let mut connection = Connection::open(server.addr).await;
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: {address}\r\nContent-Length: 0\r\n\r\n"
    );
    connection.send(head).await;
    connection.response().await
}

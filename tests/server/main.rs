//! The real server, spoken to from outside: HTTP and WebSocket on a free port. Laid out like the URLs and the messages.
mod client;
mod helpers;
mod limits;
mod reload;
mod rest;
mod socket;
mod users;

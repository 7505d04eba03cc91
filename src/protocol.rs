//! Pusher protocol 7, pure: no sockets, no clock, no randomness.
//!
//! What a client or a publisher sends is checked here once and becomes a type that can only be valid; what the server says is
//! written here once into a [`Frame`](crate::frame::Frame). Who may do what, and who gets which frame, is decided elsewhere.
//!
//! | File | Rules |
//! |---|---|
//! | [`channel`] | names and kinds: S-1 to S-4, U-10, U-11, H-25, E-2 |
//! | [`client`] | what a client says: C-16, C-17, C-23, C-24, S-7 to S-9, S-18, E-1, E-5, U-1 |
//! | [`codes`] | errors and close codes with their texts: C-8, C-24, C-27 to C-33, S-17, P-12 to P-14, E-2 to E-5, E-10, E-11 |
//! | [`event`] | data of events, byte for byte: S-23, S-28, E-7, H-20 |
//! | [`json`] | what is no JSON (C-24), strings in and out |
//! | [`presence`] | who a member is: P-1, P-13, P-14 |
//! | [`server`] | what the server says: C-11 to C-16, C-26, C-30, S-10, S-11, S-17, S-22, S-28, P-4 to P-8, E-8, E-9 |
//! | [`request`] | signed REST requests: H-11 to H-16 |
//! | [`signature`] | signed subscriptions and sign-ins: S-5 to S-8, U-1, U-4, P-2 |
//! | [`socket_id`] | C-14, H-24 |
//! | [`user`] | who signs in: U-2, U-24 |

pub mod channel;
pub mod client;
pub mod codes;
pub mod event;
pub mod json;
pub mod presence;
pub mod request;
pub mod server;
pub mod signature;
pub mod socket_id;
pub mod user;

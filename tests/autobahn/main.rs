//! The cases of the Autobahn test suite for WebSocket servers (sections 1 to 7, 9 and 10) as a table of our own.

mod cases;
mod echo;
mod frame_reader;
mod socket;
mod wire;

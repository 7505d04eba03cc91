//! An admitted connection as it is counted: from its handshake until its transport is gone.

use std::{sync::Arc, time::Instant};

use crate::{
    apps::App,
    gate::Place,
    hub::link::End,
    node::ConnectionPermit,
    observe::{Caller, Socket},
    protocol::socket_id::SocketId,
    socket::Held,
};

/// Tells that the connection has come, and in the end why it went.
pub struct Attendance {
    permit: ConnectionPermit,
    _place: Place,
    app: Arc<App>,
    socket_id: SocketId,
    begun: Instant,
}

impl Attendance {
    pub fn begin(
        permit: ConnectionPermit,
        place: Place,
        app: Arc<App>,
        socket_id: SocketId,
        caller: &Caller<'_>,
    ) -> Attendance {
        let attendance = Attendance {
            permit,
            _place: place,
            app,
            socket_id,
            begun: Instant::now(),
        };
        let observer = attendance.permit.node().observe();
        observer.connected(attendance.socket(), caller);
        attendance
    }

    fn socket(&self) -> Socket<'_> {
        Socket {
            app: &self.app.id,
            id: self.socket_id,
        }
    }
}

impl Held for Attendance {
    fn ended(&mut self, end: End) {
        let observer = self.permit.node().observe();
        observer.disconnected(self.socket(), end, self.begun.elapsed());
    }
}

//! An echo server on the real socket path: actix's listener and upgrade, our connection task, hub, link and frame code.
//! Only what is talked differs from the real server.

use std::{
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, mpsc},
    task::Poll,
    thread,
};

use actix_codec::{Encoder, Framed};
use actix_http::{HttpService, Request, Response, body::BodySize, h1, ws};
use actix_rt::net::TcpStream;
use actix_server::Server;
use actix_service::fn_service;
use resound::{
    frame::{Frame, FrameError, FrameReader},
    hub::{
        Hub,
        inbox::WorkerId,
        link::Link,
        ticker::{self, KeepAlive, Limits},
    },
    protocol::socket_id::SocketId,
    socket::{Conversation, connection::Connection},
};

/// The largest cases have messages of 16 MiB.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
const OUTBOX_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

struct Echo(Rc<Link>);

impl Conversation for Echo {
    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn text(&mut self, text: &str) {
        self.0.push(&Frame::text(text));
    }

    fn binary(&mut self, bytes: &[u8]) {
        self.0.push(&Frame::binary(bytes));
    }

    fn violated(&mut self, _: &FrameError) {}
}

/// Starts a server that lives as long as the test process.
pub fn echo_server() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let (started, running) = mpsc::channel();
    thread::spawn(move || {
        actix_rt::System::new().block_on(async move {
            let server = Server::build()
                .workers(1)
                .disable_signals()
                .listen("echo", listener, || {
                    HttpService::build()
                        .upgrade(fn_service(upgrade))
                        .finish(fn_service(|_: Request| async {
                            Ok::<_, actix_http::Error>(Response::ok())
                        }))
                        .tcp()
                })
                .expect("a listener")
                .run();
            started.send(()).expect("the test waits");
            server.await.expect("runs until the process ends");
        });
    });
    running.recv().expect("a running server");
    address
}

async fn upgrade(
    (request, framed): (Request, Framed<TcpStream, h1::Codec>),
) -> Result<(), actix_http::Error> {
    let mut response =
        ws::handshake(request.head()).expect("the cases begin with a good handshake");
    let mut parts = framed.into_parts();
    let response = response.finish().drop_body();
    parts
        .codec
        .encode(
            h1::Message::Item((response, BodySize::None)),
            &mut parts.write_buf,
        )
        .expect("encoded");
    let hub = hub();
    let keep_alive = KeepAlive {
        ping_interval_s: 3600,
        pong_timeout_s: 3600,
    };
    let link = Link::new(
        parts.io,
        SocketId::new(1, 1),
        None,
        keep_alive,
        OUTBOX_BYTES_MAX,
        hub.now_s(),
        Arc::default(),
    );
    link.push_raw(parts.write_buf.freeze());
    let key = hub.add(link.clone());
    let echo = Echo(link.clone());
    let reader = FrameReader::new(MESSAGE_BYTES_MAX);
    actix_rt::spawn(Connection::new(
        link,
        hub,
        key,
        reader,
        Some(echo),
        parts.read_buf,
        None,
    ));
    Ok(())
}

/// The worker's hub, made by the first connection.
fn hub() -> Rc<Hub> {
    resound::hub::worker_hub(|| {
        let hub = Hub::new(
            WorkerId(0),
            Limits {
                write_timeout_s: 30,
                close_timeout_s: 5,
                message_timeout_s: 60,
            },
            Arc::default(),
        );
        actix_rt::spawn(ticker::run(hub.clone()));
        Some(hub)
    })
    .expect("made above")
}

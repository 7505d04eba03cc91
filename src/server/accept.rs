//! What every accepted connection goes through before HTTP: a PROXY protocol header where one is due, then TLS where it is
//! spoken. All of it within the handshake timeout.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    entrance::Entrance,
    misdialed::{self, LastWords, Misdialed, Opening},
    proxy_protocol::{self, Header},
    raw::{Early, Raw},
    wire::{Silent, Wire},
};
use crate::peer::Peer;

/// What rustls may hold back for a peer that takes nothing, besides the outbox: two records.
const TLS_BUFFER_BYTES: usize = 32 * 1024;

/// Bytes read at once while it isn't known yet who the peer is: more than most TLS hellos have.
const OPENING_BYTES: usize = 1024;

/// The connection as HTTP may use it, or `None` if it was turned away.
pub async fn arrive(entrance: &Entrance, raw: Raw) -> Option<Wire> {
    let peer = raw.peer()?;
    // Until the wire counts it.
    let _silent = Silent::of(&entrance.silent);
    raw.prepare(entrance.unsent_bytes_max());
    if entrance.room.is_exceeded() {
        turn_away_for_room(entrance, &raw, &peer);
        return None;
    }
    if entrance.tls.is_none() && !entrance.expects_header(&peer) {
        let early = bytes::Bytes::new();
        return Some(Wire::plain(raw, early, peer, entrance));
    }
    let introduced = Box::pin(introduce(entrance, raw, peer));
    match tokio::time::timeout(entrance.timeout(), introduced).await {
        Ok(wire) => wire,
        Err(_) => {
            let message = format!(
                "cut a connection that was not ready after {} s (server.handshake_timeout_s): no {} came",
                entrance.timeout().as_secs(),
                match entrance.tls {
                    Some(_) => "complete TLS handshake",
                    None => "PROXY protocol header",
                }
            );
            entrance.report(&peer, Misdialed::NotReady, &message);
            None
        }
    }
}

async fn introduce(entrance: &Entrance, mut raw: Raw, mut peer: Peer) -> Option<Wire> {
    let mut early = BytesMut::new();
    if entrance.expects_header(&peer) {
        let header = read_header(entrance, &mut raw, &mut early, &peer).await?;
        early.advance(header.length);
        peer = Peer {
            address: header.source.or(peer.address),
            is_tls: header.is_tls,
        };
    }
    let Some(tls) = &entrance.tls else {
        return Some(Wire::plain(raw, early.freeze(), peer, entrance));
    };
    if early.is_empty() && !read_more(&mut raw, &mut early).await {
        return None;
    }
    if Opening::of(&early) != Opening::Tls {
        turn_away_without_tls(entrance, raw, &early, &peer).await;
        return None;
    }
    let early = Early::new(early.freeze(), raw);
    let handshake = tls.accept_with(early, |connection| {
        connection.set_buffer_limit(Some(TLS_BUFFER_BYTES));
    });
    match handshake.await {
        Ok(stream) => {
            peer.is_tls = true;
            Some(Wire::tls(stream, peer, entrance))
        }
        Err(error) => {
            let message = format!("a TLS handshake failed: {error}");
            entrance.report(&peer, Misdialed::Tls, &message);
            None
        }
    }
}

/// Reads until the header is whole. Says in the log why there is none.
async fn read_header(
    entrance: &Entrance,
    raw: &mut Raw,
    early: &mut BytesMut,
    peer: &Peer,
) -> Option<Header> {
    loop {
        match proxy_protocol::read(early) {
            Ok(Some(header)) => return Some(header),
            Ok(None) => {}
            Err(error) => {
                misdialed::refused_proxy_header(&entrance.node, peer, &error.to_string());
                if error == proxy_protocol::HeaderError::Missing
                    && Opening::of(early) != Opening::Tls
                {
                    say_last(raw, misdialed::PROXY_HEADER_MISSING).await;
                }
                return None;
            }
        }
        if !read_more(raw, early).await {
            // Probes connect and say nothing.
            if !early.is_empty() {
                misdialed::refused_proxy_header(
                    &entrance.node,
                    peer,
                    "the connection ended within it",
                );
            }
            return None;
        }
    }
}

/// The file is needed back at once: nothing is said, and nothing waits.
fn turn_away_for_room(entrance: &Entrance, raw: &Raw, peer: &Peer) {
    raw.reset_at_end();
    entrance.room.note_turned_away();
    let message = "turned a connection away: no file is left for it (LimitNOFILE=, `ulimit -n`)";
    misdialed::note(&entrance.node, peer, Misdialed::NoRoom, message);
}

async fn turn_away_without_tls(entrance: &Entrance, mut raw: Raw, early: &[u8], peer: &Peer) {
    if Opening::of(early) == Opening::ProxyHeader {
        misdialed::refused_proxy_header(
            &entrance.node,
            peer,
            "it comes from an address outside server.trusted_proxies, or server.proxy_protocol is off",
        );
        return;
    }
    let what = Misdialed::PlainOnTls;
    if early.first().is_some_and(u8::is_ascii_uppercase) {
        entrance.report(
            peer,
            what,
            "a client speaks plain HTTP to the TLS port: it must use wss:// and https:// there (forceTLS: true, REVERB_SCHEME=https); PHP on this machine may use server.plain_port",
        );
        say_last(&mut raw, misdialed::PLAIN_ON_TLS).await;
    } else {
        let message = "a client speaks neither TLS nor HTTP to the TLS port";
        entrance.report(peer, what, message);
    }
}

/// Tells the client why, then ends the connection. What it still sends is read for a moment: closing with bytes unread
/// would take the answer away from it.
async fn say_last(raw: &mut Raw, words: LastWords) {
    let told: io::Result<()> = async {
        raw.write_all(&words.to_bytes()).await?;
        raw.shutdown().await?;
        let mut rest = [0; OPENING_BYTES];
        for _ in 0..64 {
            if raw.read(&mut rest).await? == 0 {
                break;
            }
        }
        Ok(())
    }
    .await;
    if let Err(error) = told {
        tracing::debug!("lost a client that was to be told why it is refused: {error}");
    }
}

/// `false` at the end of the stream.
async fn read_more(raw: &mut Raw, early: &mut BytesMut) -> bool {
    early.reserve(OPENING_BYTES);
    raw.read_buf(early).await.is_ok_and(|length| length > 0)
}

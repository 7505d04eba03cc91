//! Tests: a connection over a transport that does all that a transport may do. It takes and gives a byte or many, blocks at any
//! call, is interrupted, ends, or breaks after any byte. Whatever it does, the peer gets a prefix of what it is owed, all of it if
//! nothing broke; afterwards nothing of the connection is left; and it is polled only when it was woken, and not for ever.

mod io;
mod scene;

use std::io::ErrorKind;

use proptest::prelude::*;

use self::{
    io::{Direction, Fault},
    scene::{Behaviour, Ending, Heard, Scene, Transports},
};

/// What the peer hears when nothing goes wrong.
fn whole(scene: &mut Scene, ending: Ending) -> Heard {
    let heard = scene.converse(Behaviour::default(), ending);
    assert!(heard.is_over, "{ending:?}");
    heard
}

/// After each of these positions, for each ending. Kinds of failure take turns.
fn breaks(transports: Transports, positions: impl Fn(Direction, usize) -> Vec<usize>) {
    let mut scene = Scene::new(transports);
    for (number, ending) in Ending::ALL.into_iter().enumerate() {
        let whole = whole(&mut scene, ending);
        for (of, bytes) in [
            (Direction::Read, whole.bytes_read),
            (Direction::Write, whole.bytes_written),
        ] {
            for at in positions(of, bytes) {
                let kinds = of.kinds();
                let kind = kinds[(at + number) % kinds.len()];
                let fault = Fault { of, at, kind };
                let behaviour = Behaviour {
                    fault: Some(fault),
                    is_vectored: at % 2 == 0,
                    ..Behaviour::default()
                };
                let heard = scene.converse(behaviour, ending);
                assert!(
                    whole.stream.starts_with(&heard.stream),
                    "{ending:?} {fault:?}: not what was sent: {}",
                    String::from_utf8_lossy(&heard.stream)
                );
                if of == Direction::Write && transports == Transports::Plain {
                    assert_eq!(heard.stream.len(), at, "{ending:?} {fault:?}");
                }
                assert!(heard.is_over, "{ending:?} {fault:?}: still there");
            }
        }
    }
}

#[test]
fn a_connection_that_breaks_after_any_byte_leaves_nothing_behind() {
    breaks(Transports::Plain, |of, bytes| match of {
        Direction::Read => (0..bytes).collect(),
        // each byte of what is said in the beginning and in the end; some of the large frame between
        Direction::Write => {
            let inside = 1_500..bytes.saturating_sub(300);
            let is_checked = |at: &usize| !inside.contains(at) || at.is_multiple_of(211);
            (0..bytes).filter(is_checked).collect()
        }
    });
}

#[test]
fn a_tls_connection_that_breaks_leaves_nothing_behind() {
    breaks(Transports::Tls, |of, bytes| match of {
        Direction::Read => (0..bytes).step_by(23).collect(),
        Direction::Write => (0..bytes.min(3_000))
            .step_by(67)
            .chain((3_000..bytes).step_by(1_999))
            .collect(),
    });
}

/// How a transport behaves: in which pieces, from `seed`; and where it breaks, if it does, in parts of its bytes.
fn behaviours() -> impl Strategy<Value = (u64, bool, Option<(Direction, u16, usize)>)> {
    let of = prop_oneof![Just(Direction::Read), Just(Direction::Write)];
    let fault = proptest::option::weighted(0.4, (of, any::<u16>(), 0..8_usize));
    (any::<u64>(), any::<bool>(), fault)
}

fn any_behaviour(transports: Transports, cases: u32) {
    let mut scene = Scene::new(transports);
    let references = Ending::ALL.map(|ending| whole(&mut scene, ending));
    let config = ProptestConfig::with_cases(cases);
    let scene = std::cell::RefCell::new(scene);
    proptest!(config, |((seed, is_vectored, fault) in behaviours(), ending in 0..Ending::ALL.len())| {
        let whole = &references[ending];
        let ending = Ending::ALL[ending];
        let fault = fault.map(|(of, part, kind)| {
            let bytes = match of {
                Direction::Read => whole.bytes_read,
                Direction::Write => whole.bytes_written,
            };
            let kinds = of.kinds();
            Fault { of, at: bytes * usize::from(part) / 65_536, kind: kinds[kind % kinds.len()] }
        });
        let behaviour = Behaviour { seed: Some(seed), is_vectored, fault };
        let heard = scene.borrow_mut().converse(behaviour, ending);
        prop_assert!(heard.is_over);
        match fault {
            None => prop_assert_eq!(&heard.stream, &whole.stream),
            Some(_) => prop_assert!(whole.stream.starts_with(&heard.stream)),
        }
    });
}

#[test]
fn in_any_pieces_the_peer_gets_what_it_is_owed() {
    any_behaviour(Transports::Plain, 256);
}

#[test]
fn in_any_pieces_of_tls_the_peer_gets_what_it_is_owed() {
    any_behaviour(Transports::Tls, 60);
}

#[test]
fn a_transport_that_is_interrupted_has_not_failed() {
    let mut scene = Scene::new(Transports::Plain);
    let whole = whole(&mut scene, Ending::Client);
    for of in [Direction::Read, Direction::Write] {
        for at in [0, 1, 100, 500] {
            let kind = Some(ErrorKind::Interrupted);
            let behaviour = Behaviour {
                fault: Some(Fault { of, at, kind }),
                ..Behaviour::default()
            };
            let heard = scene.converse(behaviour, Ending::Client);
            assert_eq!(heard.stream, whole.stream, "{of:?} {at}");
        }
    }
}

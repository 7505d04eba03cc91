//! Messages that wait for an answer, and for how many of them.

use super::*;
use crate::session::awaited::AWAITED_MAX;

#[test]
fn what_depends_on_a_subscription_waits_for_it_and_everything_behind_with_it() {
    let mut scene = Scene::new("");
    let mut peer = scene.connect(1);
    let subscribe_a = peer.subscribe_private("private-a");
    let event = r#"{"event":"client-e","channel":"private-a","data":1}"#;
    let unsubscribe_a = unsubscribe("private-a");
    let texts = [&*subscribe_a, event, &unsubscribe_a, &subscribe_a, PING];
    assert_eq!(peer.say(&texts), [""; 0]);
    scene.grant("join private-a", &["first"]);
    let heard = peer.heard();
    assert_eq!(heard[0], "first");
    // The event was one of a subscriber's: no error. The ping is nothing that a subscription concerns.
    assert!(heard.len() == 2 && is_pong(&heard[1]), "{heard:?}");
    assert_eq!(peer.link.metrics().client_events.get(), 1);
    let mut asked = scene.check_asked(&["leave private-a", "join private-a"]);
    scene.obey(asked.remove(1).granted(&["second"]));
    assert_eq!(peer.heard(), ["second"]);
    assert_eq!(peer.counts(), (2, 1));
}

#[test]
fn what_waits_goes_on_after_the_last_of_several_answers() {
    let mut scene = Scene::new("");
    let mut peer = scene.connect(1);
    let heard = peer.say(&[&subscribe("a"), &subscribe("b"), &unsubscribe("c"), PING]);
    assert_eq!(heard, [""; 0]);
    let mut asked = scene.check_asked(&["join a", "join b"]);
    scene.obey(asked.remove(1).granted(&["b"]));
    assert_eq!(peer.heard(), ["b"]);
    scene.obey(asked.remove(0).granted(&["a"]));
    let heard = peer.heard();
    assert_eq!(heard[0], "a");
    assert!(is_pong(&heard[1]));
}

#[test]
fn so_many_answers_are_awaited_and_no_more() {
    let mut scene = Scene::new("");
    let mut peer = scene.connect(1);
    let texts: Vec<String> = (0..AWAITED_MAX + 3)
        .map(|n| subscribe(&format!("c{n}")))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    peer.say(&texts);
    let mut asked = scene.asked();
    assert_eq!(asked.len(), AWAITED_MAX);
    // pieces of a read that waits are not overtaken by the next one
    assert_eq!(peer.say(&[PING]), [""; 0]);
    for missing in [3, 2, 1] {
        scene.obey(asked.remove(0).granted(&[]));
        peer.run();
        asked.extend(scene.check_asked(&[&format!("join c{}", AWAITED_MAX + 3 - missing)]));
    }
    assert_eq!(peer.heard(), [""; 0]);
    scene.obey(asked.remove(0).granted(&[]));
    assert!(is_pong(&peer.heard()[0]));
    scene.check_asked(&[]);
}

#[test]
fn a_message_that_waits_counts_once() {
    let limit = "message_rate_limit = true\nmessage_rate_attempts_max = 3";
    let mut scene = Scene::new(limit);
    let mut peer = scene.connect(1);
    peer.say(&[&subscribe("a"), &unsubscribe("a"), PING, PING]);
    scene.grant("join a", &["in"]);
    let heard = peer.heard();
    assert!(is_pong(&heard[1]), "{heard:?}");
    assert!(heard[2].contains("4301"), "{heard:?}");
}

#[test]
fn messages_wait_while_too_many_events_are_on_their_way() {
    let mut scene = Scene::with_room("", 1);
    let mut peer = scene.connect(1);
    let publication = crate::directory::Publication {
        channel: ChannelKey {
            app: scene.app().index,
            name: ChannelName::parse("a", 200).expect("a name"),
        },
        frame: Frame::text("{}"),
        except: None,
        published: Instant::now(),
        cached: None,
    };
    let cluster = scene.node.cluster().expect("a cluster");
    let taken = cluster.publish_client_event(&scene.app(), publication);
    assert_eq!(taken, Ok(()));
    assert_eq!(peer.say(&[PING]), [""; 0]);
    scene.asked();
    scene.obey(Command::CloseApp {
        app: u32::MAX,
        reason: CloseReason::AppDisabled,
    });
    assert!(is_pong(&peer.heard()[0]));
}

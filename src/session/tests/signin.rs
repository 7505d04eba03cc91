//! Users: what a sign-in asks of the cluster, and their watchlists.

use super::*;
use crate::{cluster::Asker, hub::ticker::Due};

const USER: &str = r##"{"id":"u","watchlist":["v","w"]}"##;
const ALL_LEFT: [&str; 3] = [
    "leave #watchers-of-v",
    "leave #watchers-of-w",
    "leave #server-to-user-u",
];

#[test]
fn u12_a_signin_is_answered_with_the_users_channel_and_then_the_watchlist() {
    let mut scene = Scene::new("watchlist = true\nauthorization_timeout_s = 5");
    let mut peer = scene.connect(1);
    let own = subscribe("#server-to-user-u");
    let signed = format!("{}:presence-a", peer.socket_id);
    let as_user = subscribe_with("presence-a", &format!(r#","auth":"{}""#, auth(&signed)));
    let signin = peer.signin(USER);
    // What isn't the user's doesn't wait for him.
    let heard = peer.say(&[&signin, &subscribe("a"), &own, &as_user]);
    assert_eq!(heard, [""; 0]);
    let mut asked = scene.check_asked(&["join #server-to-user-u", "join a"]);
    scene.obey(asked.remove(1).granted(&["in a"]));
    assert_eq!(peer.heard(), ["in a"]);
    // It has shown who it is, however long the answer takes.
    let due = peer.link.due(10, &Limits::USUAL);
    assert_eq!(due, Due::Nothing);
    scene.obey(asked.remove(0).granted(&[]));
    let heard = peer.heard();
    assert!(
        heard.len() == 1 && heard[0].contains("pusher:signin_success"),
        "{heard:?}"
    );
    scene.grant("watch 2", &["who is there"]);
    let heard = peer.heard();
    assert_eq!(heard[0], "who is there");
    assert!(heard[1].contains("subscription_succeeded"), "{heard:?}");
    scene.grant("join presence-a as u", &["in"]);
    assert_eq!(peer.heard(), ["in"]);

    // again, as the same user
    let heard = peer.say(&[&signin]);
    assert!(
        heard.len() == 1 && heard[0].contains("pusher:signin_success"),
        "{heard:?}"
    );
    let mut asked = scene.check_asked(&[ALL_LEFT[0], ALL_LEFT[1], "watch 2"]);
    scene.obey(asked.remove(2).granted(&["who is there now"]));
    assert_eq!(peer.heard(), ["who is there now"]);
    drop(peer);
    let mut left = texts_of(scene.asked());
    assert_eq!(left.split_off(3), ["leave a", "leave presence-a as u"]);
    assert_eq!(left, ALL_LEFT);
    assert_eq!(scene.hub.subscriptions(), 0);
}

/// On another thread the answers may be there before the one who asks has gone on to its next step.
#[test]
fn u22_a_watchlist_is_answered_however_soon() {
    const COUNT: usize = 2_000;
    let mut scene = Scene::new("watchlist = true");
    let peer = scene.connect(1);
    let asker = Asker {
        worker: WorkerId(0),
        socket: scene.hub.add(peer.link.clone()),
        socket_id: peer.socket_id,
    };
    let (node, app) = (scene.node.clone(), scene.app());
    let asking = std::thread::spawn(move || {
        let cluster = node.cluster().expect("a cluster");
        for _ in 0..COUNT {
            cluster.watch(&app, &["v".into()], asker);
            // so that whoever answers has nothing else to do
            std::thread::sleep(Duration::from_micros(1));
        }
    });
    let mut answered = 0;
    let mut is_over = false;
    while !is_over {
        is_over = asking.is_finished();
        let asked = scene.asked();
        answered += asked.iter().filter(|asked| asked.what == "watch 1").count();
    }
    assert_eq!(answered, COUNT);
}

#[test]
fn u24_a_cut_watchlist_is_told_after_the_success_and_an_empty_one_not_asked_for() {
    let mut scene = Scene::new("watchlist = true\nwatchlist_max = 1");
    let mut peer = scene.connect(1);
    peer.say(&[&peer.signin(USER)]);
    scene.grant("join #server-to-user-u", &[]);
    let heard = peer.heard();
    assert!(heard.len() == 2 && heard[1].contains("4302"), "{heard:?}");
    scene.grant("watch 1", &[]);

    let mut peer = scene.connect(2);
    let signin = peer.signin(r#"{"id":"u"}"#);
    peer.say(&[&signin, &unsubscribe("a"), PING]);
    scene.grant("join #server-to-user-u", &[]);
    assert_eq!(peer.heard().len(), 2);
    scene.check_asked(&[]);
}

#[test]
fn c37_a_user_is_left_exactly_once_whatever_the_signin_had_come_to() {
    for steps in 0..=4 {
        let mut scene = Scene::new("watchlist = true");
        let mut peer = scene.connect(1);
        peer.say(&[&peer.signin(USER)]);
        let mut asked = scene.check_asked(&["join #server-to-user-u"]);
        let joined = asked.remove(0).granted(&[]);
        let mut left = Vec::new();
        if steps == 0 {
            drop(peer);
            scene.obey(joined);
        } else {
            scene.obey(joined);
            if steps > 1 {
                peer.run();
                let mut asked = scene.check_asked(&["watch 2"]);
                let watching = asked.remove(0).granted(&[]);
                if steps == 2 {
                    drop(peer);
                    left.extend(scene.asked());
                    scene.obey(watching);
                } else {
                    scene.obey(watching);
                    if steps == 4 {
                        peer.run();
                    }
                    drop(peer);
                }
            } else {
                drop(peer);
            }
        }
        left.extend(scene.asked());
        let mut left = texts_of(left);
        left.sort();
        let mut expected = ALL_LEFT[if steps > 1 { 0 } else { 2 }..].to_vec();
        expected.sort_unstable();
        assert_eq!(left, expected, "{steps}");
        assert_eq!(scene.hub.subscriptions(), 0, "{steps}");
    }
}

//! Subscriptions on their way: repeated, refused, and within their limit.

use super::*;

#[test]
fn a_subscription_to_a_channel_on_its_way_is_a_repeated_one() {
    let mut scene = Scene::new("");
    let mut peer = scene.connect(1);
    peer.say(&[&subscribe("a"), &subscribe("a")]);
    scene.grant("join a", &["first"]);
    assert_eq!(peer.heard(), ["first"]);
    let mut asked = scene.check_asked(&["look a"]);
    assert_eq!(peer.say(&[&unsubscribe("a")]), [""; 0]);
    scene.check_asked(&[]);
    scene.obey(asked.remove(0).granted(&["again"]));
    assert_eq!(peer.heard(), ["again"]);
    scene.check_asked(&["leave a"]);
    assert_eq!(peer.counts(), (1, 1));
    assert_eq!(scene.hub.subscriptions(), 0);
}

#[test]
fn subscriptions_on_their_way_count_towards_the_limit() {
    let mut scene = Scene::new("channels_per_connection_max = 2");
    let mut peer = scene.connect(1);
    let texts = [subscribe("a"), subscribe("b"), subscribe("c")];
    let heard = peer.say(&texts.each_ref().map(String::as_str));
    assert_eq!(heard.len(), 2);
    assert!(heard[0].contains("pusher:subscription_error"), "{heard:?}");
    scene.check_asked(&["join a", "join b"]);
}

#[test]
fn a_refused_subscription_is_told_and_may_be_tried_again() {
    let mut scene = Scene::new("");
    let mut peer = scene.connect(1);
    peer.say(&[&subscribe("a")]);
    let mut asked = scene.check_asked(&["join a"]);
    scene.obey(asked.remove(0).refused(SubscribeError::MembersLimit));
    let heard = peer.heard();
    assert_eq!(heard.len(), 2);
    assert!(heard[0].contains("pusher:subscription_error"), "{heard:?}");
    peer.say(&[&subscribe("a")]);
    scene.grant("join a", &["in"]);
    assert_eq!(peer.heard(), ["in"]);
    drop(peer);
    scene.check_asked(&["leave a"]);
}

//! Who must show who it is in time, and what counts for that.

use super::*;
use crate::hub::ticker::Due;

#[test]
fn c36_a_signed_subscription_on_its_way_is_in_time() {
    for (is_signed, expected) in [(true, Due::Nothing), (false, Due::AuthorizationTimeout)] {
        let mut scene = Scene::new("authorization_timeout_s = 5");
        let mut peer = scene.connect(1);
        let subscribe = match is_signed {
            true => peer.subscribe_private("private-a"),
            false => subscribe("a"),
        };
        assert_eq!(peer.say(&[&subscribe]), [""; 0]);
        let asked = scene.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!(peer.link.due(10, &Limits::USUAL), expected);
    }
}

#[test]
fn c36_a_signed_subscription_that_is_refused_is_none() {
    let over = SubscribeError::MembersLimit;
    for (is_other_signed, expected) in [(true, Due::Nothing), (false, Due::AuthorizationTimeout)] {
        let mut scene = Scene::new("authorization_timeout_s = 5");
        let mut peer = scene.connect(1);
        let first = peer.subscribe_private("private-a");
        let other = match is_other_signed {
            true => peer.subscribe_private("private-b"),
            false => subscribe("b"),
        };
        peer.say(&[&first, &other]);
        let mut asked = scene.asked();
        scene.obey(asked.remove(0).refused(over.clone()));
        peer.run();
        if is_other_signed {
            // which may still be let in
            assert_eq!(peer.link.due(10, &Limits::USUAL), Due::Nothing);
        }
        scene.obey(asked.remove(0).granted(&["in"]));
        peer.run();
        assert_eq!(peer.link.due(10, &Limits::USUAL), expected);
    }
}

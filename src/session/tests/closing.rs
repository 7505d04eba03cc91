//! Connections that end while answers are on their way.

use super::*;

fn close_all(scene: &Scene) -> Command {
    Command::CloseApp {
        app: scene.app().index,
        reason: CloseReason::AppDisabled,
    }
}

/// What a connection has asked for when it ends is left, whatever became of it by then.
#[test]
fn c37_what_was_asked_for_is_left_exactly_once() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Answered {
        After,
        AfterItsKeyWentOn,
        WhileClosing,
        Unread,
        UnreadAndClosing,
        Read,
    }
    let check = |answered: Answered| {
        let mut scene = Scene::new("");
        let mut peer = scene.connect(1);
        let member = r#"{"user_id":"u"}"#;
        let signed = format!("{}:presence-a:{member}", peer.socket_id);
        let data = serde_json::json!({
            "channel": "presence-a", "auth": auth(&signed), "channel_data": member,
        });
        peer.say(&[&format!(r#"{{"event":"pusher:subscribe","data":{data}}}"#)]);
        let mut asked = scene.check_asked(&["join presence-a as u"]);
        let answer = asked.remove(0).granted(&["in"]);
        let close = close_all(&scene);
        match answered {
            Answered::After => {
                drop(peer);
                scene.obey(answer);
            }
            Answered::AfterItsKeyWentOn => {
                drop(peer);
                let mut next = scene.connect(2);
                scene.obey(answer);
                assert_eq!(next.heard(), [""; 0]);
            }
            Answered::WhileClosing => {
                scene.obey(close);
                scene.obey(answer);
                peer.run();
                assert_eq!(peer.counts(), (0, 0), "{answered:?}");
            }
            Answered::Unread => {
                scene.obey(answer);
                let link = peer.link.clone();
                drop(peer);
                assert_eq!(link.metrics().subscribed.get(), 1);
                assert_eq!(link.metrics().unsubscribed.get(), 1);
            }
            Answered::UnreadAndClosing => {
                scene.obey(answer);
                scene.obey(close);
                peer.run();
                assert_eq!(peer.counts(), (1, 1), "{answered:?}");
            }
            Answered::Read => {
                scene.obey(answer);
                assert_eq!(peer.heard(), ["in"]);
                drop(peer);
            }
        }
        assert_eq!(
            texts_of(scene.asked()),
            ["leave presence-a as u"],
            "{answered:?}"
        );
        assert_eq!(scene.hub.subscriptions(), 0, "{answered:?}");
    };
    check(Answered::After);
    check(Answered::AfterItsKeyWentOn);
    check(Answered::WhileClosing);
    check(Answered::Unread);
    check(Answered::UnreadAndClosing);
    check(Answered::Read);
}

#[test]
fn c30_a_connection_that_waits_closes_like_any_other() {
    let mut scene = Scene::new("");
    let mut peer = scene.connect(1);
    peer.say(&[&subscribe("a"), &unsubscribe("a")]);
    scene.obey(close_all(&scene));
    let heard = peer.heard();
    assert_eq!(heard.last().map(String::as_str), Some("close 4003"));
    peer.send(&masked(0x88, ""));
    assert!(peer.connection.is_none(), "the client's close wasn't read");
}

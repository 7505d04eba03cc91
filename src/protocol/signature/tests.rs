use super::*;
use crate::protocol::json::tests::Random;

const KEY: &str = "278d425bdf160c739803";
const SECRET: &str = "7ad3773142a6692b25b8";
const SOCKET: SocketId = SocketId::new(1234, 1234);

fn secret() -> Secret {
    Secret::new(SECRET)
}

/// V-1 to V-12: channel, channel_data, digest
const CHANNELS: &[(&str, Option<&str>, &str)] = &[
    (
        "private-foobar",
        None,
        "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4",
    ),
    (
        "presence-foobar",
        Some(r#"{"user_id":10,"user_info":{"name":"Mr. Pusher"}}"#),
        "afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c",
    ),
    (
        "presence-foobar",
        Some(r#"{"user_id":10,"user_info":{"name":"Mr. Channels"}}"#),
        "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80",
    ),
    (
        "presence-foobar",
        Some(r#"{"user_id":"10","user_info":{"name":"Mr. Channels"}}"#),
        "4c6d8fc42a207ba96a0779844171b0bb819d96ffceef9609f5cce596ab17a800",
    ),
    (
        "presence-foobar",
        Some(r#"{"user_id": "10", "user_info": {"name": "Mr. Channels"}}"#),
        "96f61cf0b64a80c5cf1852da9dea2998a90fd7fa840c4cc62212573f1c524cdf",
    ),
    (
        "presence-foobar",
        Some(r#"{"user_id":"ü-1","user_info":{"name":"Žofie 🚀"}}"#),
        "f765c9d482f8241e16ff245318009fef5a511f4dfddc5d533d2537c5ae6c1527",
    ),
    (
        "presence-foobar",
        Some(r#"{"user_id":"\u00fc-1"}"#),
        "d8881eb554ce590e5cfb7a0b213eac991a52879b5459f26153fe8dd16057b454",
    ),
    (
        "presence-foobar",
        Some(r#"{"user_id":"10"}"#),
        "f84515574e2196bb5d8554cc21e73bead300b66128c7d8c496723cb729a209c8",
    ),
    (
        "presence-foobar",
        Some(r#"{"user_id":"10","user_info":{"name":"Zo\/\u00e9"}}"#),
        "b7eb14510e0838df7cb2436bd1d4980546cf2788edbd41aefc0f4f6dda9ce19d",
    ),
    (
        "private-encrypted-foobar",
        None,
        "e6a18892d037c5d5e76a2265df4f086ffc38631605530dfd214aa5bff495f533",
    ),
    (
        "private-cache-foobar",
        None,
        "395f4a03f06e17b74af8d9c58386cf386e70176f58452420f042b6e1bddefa43",
    ),
    (
        "private-encrypted-cache-foobar",
        None,
        "b9b56ee68b2117189dbac324760a1f9958070108e3ef45232e5dcbba37dbb831",
    ),
    (
        "presence-cache-foobar",
        Some(r#"{"user_id":"10","user_info":{"name":"Mr. Channels"}}"#),
        "6c54d90970eaac004be18ca8d1bea87d9648f4a37be1c1304bf68f4a6b5532a1",
    ),
    (
        "private-foobar",
        Some(r#"{"any":"thing"}"#),
        "d995cbf1214fe61d2d2c617a6b6d74223fe96edec712f81076e66d37965130cb",
    ),
];
const V1: &str = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
const V4: &str = "4c6d8fc42a207ba96a0779844171b0bb819d96ffceef9609f5cce596ab17a800";
const V4_DATA: &str = r#"{"user_id":"10","user_info":{"name":"Mr. Channels"}}"#;

fn check_auth(
    auth: Option<&str>,
    channel: &str,
    channel_data: Option<&str>,
) -> Result<(), SubscribeError> {
    let channel = ChannelName::parse(channel, 200).unwrap();
    check_channel_auth(KEY, &secret(), auth, SOCKET, &channel, channel_data)
}

fn with_key(digest: &str) -> String {
    format!("{KEY}:{digest}")
}

#[test]
fn s5_v1_to_v11_channel_auth() {
    for &(channel, data, digest) in CHANNELS {
        let auth = with_key(digest);
        assert_eq!(
            check_auth(Some(&auth), channel, data),
            Ok(()),
            "{channel} {data:?}"
        );
        let text = data.map_or(format!("1234.1234:{channel}"), |data| {
            format!("1234.1234:{channel}:{data}")
        });
        assert_eq!(secret().sign(text.as_bytes()), digest);
    }
}

#[test]
fn s5_v12_to_v16_other_signatures() {
    let check = |secret: &str, text: &str, digest: &str| {
        assert_eq!(Secret::new(secret).sign(text.as_bytes()), digest, "{text}");
    };
    check(
        SECRET,
        "1234.1234:presence-foobar",
        "71506e66e7fdca106571b8999a849ad34245bc653772e51e0026c1a2475b92ba",
    );
    check(
        SECRET,
        r#"1234.1234::user::{"id":"12345"}"#,
        "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba",
    );
    check(
        SECRET,
        r#"1234.1234::user::{"id":"u-1","user_info":{"name":"Ann"},"watchlist":["u-2","u-3"]}"#,
        "bc9b6fb0f96d2bf4812659fd35ad501acba19691583ba7196836c542d64b44f5",
    );
    check(
        SECRET,
        r#"1234.1234::user::{"id":"user@example.com"}"#,
        "d55801cfcb832498203dbe0ca875fdc2ab7b47eb297c3a301429729127cf6301",
    );
    for (text, digest) in [
        (
            "123.456:test",
            "efa6cf7644a0b35cba36aa0f776f3cbf7bb60e95ea2696bde1dbe8403b61bd7c",
        ),
        (
            r#"123.456:test:{"foo":"bar"}"#,
            "f41faf9ead2ea76772cc6b1168363057459f02499ae4d92e88229dc7f4efa2d4",
        ),
        (
            "1.1:test:\"ą§¶™€łü€ß£\"",
            "2a229263e89d9c50524fd80c2e88be2843379f6931e28995e2cc214282c9db0c",
        ),
        (
            r#"123.456::user::{"id":"45678"}"#,
            "f4b1fdeea7c93e32648c7230e32b172057c5623cace6cfce791c6e7035e0babd",
        ),
        (
            "1.1::user::{\"id\":\"ą§¶™€łü€ß£\"}",
            "620494cee53d6c568b49598313194088afda37218f0d059af03c0c898ed61ff4",
        ),
        (
            "123.456:private-encrypted-bla:\"foo\"",
            "962c48b78bf93d98ff4c92ee7dff04865821455b7b401e9d60a9e0a90af2c105",
        ),
    ] {
        check("tofu", text, digest);
    }
}

fn signature_of(error: Result<(), SubscribeError>) -> (String, String) {
    match error {
        Err(SubscribeError::InvalidSignature {
            string_to_sign,
            signature,
        }) => (string_to_sign, signature),
        other => panic!("{other:?}"),
    }
}

#[test]
fn s5_foreign_signatures_are_refused() {
    for foreign in [
        // V-9a: another socket, V-9b: another channel
        "7fd9c491a0e141b7d4c90e04529c9c9ac7dcb23a9b4f46a31dda86961e1adecf",
        "79ddccbfa72cc13533c8d87f8dbeabc60e18ab1b945608c6e170cfb4b968c949",
        // V-61: the last digit changed
        "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a5",
        "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a",
        "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4a4",
        " 58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4",
        "",
        "BADSIG",
        "ü",
        "zz",
    ] {
        let refused = check_auth(Some(&with_key(foreign)), "private-foobar", None);
        let expected = ("1234.1234:private-foobar".to_owned(), foreign.to_owned());
        assert_eq!(signature_of(refused), expected);
    }
    let auth = with_key(V4);
    let other_data = r#"{"user_id":"11","user_info":{"name":"Mr. Channels"}}"#;
    let refused = check_auth(Some(&auth), "presence-foobar", Some(other_data));
    assert_eq!(
        signature_of(refused).0,
        format!("1234.1234:presence-foobar:{other_data}")
    );
    let same_channel = ChannelName::parse("private-foobar", 200).unwrap();
    let other_secret = Secret::new("other");
    let auth = with_key(V1);
    assert!(
        check_channel_auth(KEY, &other_secret, Some(&auth), SOCKET, &same_channel, None).is_err()
    );
}

/// As recorded from Laravel 12's `/broadcasting/auth` and `/broadcasting/user-auth`.
#[test]
fn what_a_laravel_app_signs_is_accepted() {
    const KEY: &str = "lab0key1lab2key3lab4";
    let secret = Secret::new("lab0secret1lab2secr3");
    let socket = SocketId::parse("1234.5678").expect("a socket id");
    let auth = |digest: &str| format!("{KEY}:{digest}");
    let check = |channel: &str, data: Option<&str>, digest: &str| {
        let channel = ChannelName::parse(channel, 200).expect("a channel");
        let auth = auth(digest);
        let checked = check_channel_auth(KEY, &secret, Some(&auth), socket, &channel, data);
        assert_eq!(checked, Ok(()), "{channel}");
    };
    check(
        "private-orders.42",
        None,
        "1630cfe25550a0a9517a6927191b1891f037791b955a8fa3516eafce20ed732c",
    );
    check(
        "private-encrypted-vault.1",
        None,
        "013f709cbd0b05b75016483ad0a3759692440fd4cf9f4399791463d29a66aa62",
    );
    check(
        "presence-room.7",
        Some(r#"{"user_id":"3","user_info":{"id":3,"name":"User 3"}}"#),
        "c3650b663e3bb01f68e58d4447d02a7d526fbb740b329c2961895ee58b0f9801",
    );
    let user = r#"{"id":"3","user_info":{"name":"User 3"},"watchlist":[]}"#;
    let digest = "41807074dc457126f6da24bd27917f6b2babb2c35799046456a820415fa72e10";
    let checked = check_user_auth(KEY, &secret, &auth(digest), socket, user);
    assert_eq!(checked, Ok(()));
}

#[test]
fn s6_key_and_digest_in_any_case() {
    for auth in [
        with_key(V1),
        with_key(V1).to_uppercase(),
        format!("{}:{V1}", KEY.to_uppercase()),
        with_key(&V1.to_uppercase()),
    ] {
        assert_eq!(
            check_auth(Some(&auth), "private-foobar", None),
            Ok(()),
            "{auth}"
        );
    }
    for (auth, key) in [
        (format!("other:{V1}"), "other"),
        (format!(":{V1}"), ""),
        (format!("{KEY} :{V1}"), "278d425bdf160c739803 "),
        (format!("other:{KEY}:{V1}"), "other"),
    ] {
        assert_eq!(
            check_auth(Some(&auth), "private-foobar", None),
            Err(SubscribeError::InvalidKey(key.to_owned()))
        );
    }
    // what follows the first colon is the signature, further colons and all
    let refused = check_auth(Some(&format!("{KEY}:a:{V1}")), "private-foobar", None);
    assert_eq!(signature_of(refused).1, format!("a:{V1}"));
    // a signature without a key
    let refused = check_auth(Some(V1), "private-foobar", None);
    assert_eq!(signature_of(refused).1, V1);
    assert_eq!(signature_of(check_auth(None, "private-foobar", None)).1, "");
}

#[test]
fn s7_channel_data_on_private_channels_may_be_signed_or_not() {
    let with_data = "d995cbf1214fe61d2d2c617a6b6d74223fe96edec712f81076e66d37965130cb";
    let data = Some(r#"{"any":"thing"}"#);
    assert_eq!(
        check_auth(Some(&with_key(with_data)), "private-foobar", data),
        Ok(())
    );
    assert_eq!(
        check_auth(Some(&with_key(V1)), "private-foobar", data),
        Ok(())
    );
    // signed with data, but the data is withheld
    assert!(check_auth(Some(&with_key(with_data)), "private-foobar", None).is_err());
    // presence channels know no such choice
    let v12 = "71506e66e7fdca106571b8999a849ad34245bc653772e51e0026c1a2475b92ba";
    assert!(check_auth(Some(&with_key(v12)), "presence-foobar", Some(V4_DATA)).is_err());
}

#[test]
fn s8_public_channels_need_no_auth() {
    for channel in ["room", "cache-prices", "privatefoo"] {
        for auth in [None, Some(""), Some("x"), Some("other:bad")] {
            assert_eq!(check_auth(auth, channel, None), Ok(()));
        }
    }
}

#[test]
fn s17_presence_without_channel_data() {
    for channel in ["presence-foobar", "presence-cache-foobar"] {
        assert_eq!(
            check_auth(Some(&with_key(V1)), channel, None),
            Err(SubscribeError::MissingChannelData(channel.to_owned()))
        );
    }
    let text = check_auth(Some("x:y"), "presence-foobar", None)
        .unwrap_err()
        .to_string();
    assert_eq!(text, "Invalid key in subscription auth data: 'x'");
}

#[test]
fn s17_texts_hold_no_secret() {
    let error = check_auth(Some(&with_key("BADSIG")), "private-foobar", None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Invalid signature: Expected HMAC SHA256 hex digest of 1234.1234:private-foobar, but got BADSIG"
    );
    assert!(!format!("{error:?} {:?}", secret()).contains(SECRET));
}

#[test]
fn u14_no_signature_opens_a_user_channel() {
    let channel = "#server-to-user-1";
    let digest = secret().sign(format!("1234.1234:{channel}").as_bytes());
    assert_eq!(
        check_auth(Some(&with_key(&digest)), channel, None),
        Err(SubscribeError::ServerToUser(channel.to_owned()))
    );
}

#[test]
fn u1_user_signatures() {
    let check = |user_data: &str, digest: &str| {
        let auth = format!("{KEY}:{digest}");
        let result = |key: &str, auth: &str, data: &str| {
            check_user_auth(key, &Secret::new(SECRET), auth, SOCKET, data)
        };
        assert_eq!(result(KEY, &auth, user_data), Ok(()));
        assert_eq!(result(&KEY.to_uppercase(), &auth, user_data), Ok(()));
        assert!(matches!(
            result("other", &auth, user_data),
            Err(ClientError::InvalidSigninKey(_))
        ));
        for wrong in [digest, "", ":", &auth[..auth.len() - 1]] {
            assert!(result(KEY, wrong, user_data).is_err(), "{wrong}");
        }
        assert!(result(KEY, &auth, "{}").is_err());
    };
    // V-13, V-14, V-15
    check(
        r#"{"id":"12345"}"#,
        "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba",
    );
    check(
        r#"{"id":"u-1","user_info":{"name":"Ann"},"watchlist":["u-2","u-3"]}"#,
        "bc9b6fb0f96d2bf4812659fd35ad501acba19691583ba7196836c542d64b44f5",
    );
    check(
        r#"{"id":"user@example.com"}"#,
        "d55801cfcb832498203dbe0ca875fdc2ab7b47eb297c3a301429729127cf6301",
    );
}

#[test]
fn p2_v12_presence_by_sign_in() {
    let channel = ChannelName::parse("presence-foobar", 200).expect("a name");
    let check =
        |auth: Option<&str>| check_member_auth(KEY, &Secret::new(SECRET), auth, SOCKET, &channel);
    let digest = "71506e66e7fdca106571b8999a849ad34245bc653772e51e0026c1a2475b92ba";
    assert_eq!(check(Some(&format!("{KEY}:{digest}"))), Ok(()));
    for wrong in [None, Some(digest), Some("other:x"), Some(KEY)] {
        assert!(check(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn random_auth_never_panics() {
    let mut random = Random(13);
    for _ in 0..20_000 {
        let auth = random.text("278d425bdf:0a=ü");
        let _ = check_auth(Some(&auth), "private-a", Some(&auth));
    }
}

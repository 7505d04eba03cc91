//! REST requests and signatures: nothing passes unsigned, everything passes that is signed, and not a byte may change after.

use md5::{Digest, Md5};

use crate::protocol::{
    channel::{ChannelKind, ChannelName},
    request::{Query, RequestAuthError, SignedRequest, check_request},
    signature::{Secret, check_channel_auth, check_user_auth},
    socket_id::SocketId,
};

const KEY: &str = "key";
const NOW_S: u64 = 1_700_000_000;
const WINDOW_S: u64 = 600;

/// Three lines, then the rest: method, path, query, body.
pub fn request(data: &[u8]) {
    let mut parts = data.splitn(4, |&byte| byte == b'\n');
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default());
    let (method, path, query) = (text(), text(), text());
    let body = parts.next().unwrap_or_default();
    let secret = Secret::new("a secret that the input doesn't know");

    check(&method, &path, &query, body, &secret);
    sign_and_check(&method, &path, &query, body, &secret);
    subscribe(&path, &query, &secret);
}

/// As it came.
fn check(method: &str, path: &str, query: &str, body: &[u8], secret: &Secret) {
    let query = Query::parse(query);
    for key in ["auth_key", "info", "", "channels"] {
        assert_eq!(query.get(key).is_none(), query.get_all(key).is_empty());
    }
    let request = SignedRequest {
        method,
        paths: &[path],
        query: &query,
        body,
    };
    let refusal =
        check_request(&request, KEY, secret, NOW_S, WINDOW_S).expect_err("nobody signed it");
    assert!(!refusal.to_string().contains(['\n', '\r']), "{refusal}");
}

/// With parameters of its own, signed as an SDK signs: all keys in order, values as they are.
fn sign_and_check(method: &str, path: &str, query: &str, body: &[u8], secret: &Secret) {
    let own = form_urlencoded::parse(query.as_bytes()).map(|(key, value)| {
        // a prefix keeps them from being parameters of the signature, or arrays
        let key = key.to_ascii_lowercase().replace(['[', ']'], "");
        (format!("x{key}"), value.into_owned())
    });
    let mut pairs: std::collections::BTreeMap<String, String> = own.collect();
    pairs.insert("auth_key".into(), KEY.into());
    pairs.insert("auth_timestamp".into(), NOW_S.to_string());
    pairs.insert("auth_version".into(), "1.0".into());
    if !body.is_empty() {
        pairs.insert("body_md5".into(), hex::encode(Md5::digest(body)));
    }
    let plain: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let to_sign = format!(
        "{}\n{path}\n{}",
        method.to_ascii_uppercase(),
        plain.join("&")
    );
    let signature = secret.sign(to_sign.as_bytes());
    let raw = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&pairs)
        .append_pair("auth_signature", &signature)
        .finish();
    let query = Query::parse(&raw);
    let checked = |path: &str, body: &[u8], now_s| {
        let request = SignedRequest {
            method,
            paths: &[path],
            query: &query,
            body,
        };
        check_request(&request, KEY, secret, now_s, WINDOW_S)
    };
    assert_eq!(checked(path, body, NOW_S), Ok(()), "{raw}");
    assert!(checked(&format!("{path}/"), body, NOW_S).is_err());
    assert!(checked(path, body, NOW_S + WINDOW_S).is_err());
    if !body.is_empty() {
        let other = [body, b" "].concat();
        assert_eq!(
            checked(path, &other, NOW_S),
            Err(RequestAuthError::InvalidBodyMd5)
        );
    }
}

/// The same texts as the name of a channel and what is signed with it.
fn subscribe(name: &str, data: &str, secret: &Secret) {
    let socket_id = SocketId::new(12, 34);
    let signed = |text: &str| format!("{KEY}:{}", secret.sign(text.as_bytes()));
    let user = |auth: &str| check_user_auth(KEY, secret, auth, socket_id, data);
    assert_eq!(user(&signed(&format!("{socket_id}::user::{data}"))), Ok(()));
    assert!(user(name).is_err());

    let Ok(channel) = ChannelName::parse(name, 200) else {
        return;
    };
    let check = |auth: Option<&str>| {
        check_channel_auth(KEY, secret, auth, socket_id, &channel, Some(data)).is_ok()
    };
    let auth = signed(&format!("{socket_id}:{channel}:{data}"));
    assert_eq!(
        check(Some(&auth)),
        channel.kind() != ChannelKind::ServerToUser
    );
    let is_open = matches!(channel.kind(), ChannelKind::Public | ChannelKind::Cache);
    assert_eq!(check(Some(data)), is_open);
    assert_eq!(check(None), is_open);
}

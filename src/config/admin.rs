//! The `[admin]` section: the operator's listener with metrics, health checks and the live stream.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use config::ValueKind;

use super::{error::ConfigError, layers::DEFAULT_ORIGIN, section::Section};
use crate::protocol::signature::Secret;

/// The listener for operators and monitoring.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    pub enabled: bool,
    pub host: IpAddr,
    /// 0 = any free port
    pub port: u16,
    /// somebody asked for this very port: not getting it is a failure then
    pub is_port_chosen: bool,
    /// what opens the live stream; `None` = only programs on this machine may
    pub token: Option<AdminToken>,
    /// live events that may wait for one listener; over it they are dropped and the listener is told how many
    pub live_queue_events_max: usize,
    pub live_listeners_max: usize,
    /// what soketi's names of metrics begin with; empty = they are not exported
    pub soketi_prefix: String,
}

impl AdminSettings {
    /// Whether others than this machine's programs can reach the listener.
    pub fn is_public(&self) -> bool {
        !self.host.to_canonical().is_loopback()
    }
}

/// The password of the live stream. Prints as nothing.
#[derive(Clone)]
pub struct AdminToken(String);

impl AdminToken {
    /// Whether this is the token, in a time that says nothing about how much of it is right.
    pub fn is(&self, given: &str) -> bool {
        let digests = Secret::new("admin token");
        digests.verify(given.as_bytes(), &digests.sign(self.0.as_bytes()))
    }

    /// For those who have to send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

pub(super) fn admin_settings(section: &Section<'_>) -> Result<AdminSettings, ConfigError> {
    let port = section.integer("port", 0..=u16::MAX.into())?;
    let port_origin = section.value("port")?.origin();
    Ok(AdminSettings {
        enabled: section.switch("enabled")?,
        host: host(section)?,
        port: u16::try_from(port).unwrap_or(u16::MAX),
        is_port_chosen: port_origin.is_some_and(|origin| origin != DEFAULT_ORIGIN),
        token: token(section)?,
        live_queue_events_max: section.usize("live_queue_events_max", 16..=1_000_000)?,
        live_listeners_max: section.usize("live_listeners_max", 0..=1_000)?,
        soketi_prefix: soketi_prefix(section)?,
    })
}

fn host(section: &Section<'_>) -> Result<IpAddr, ConfigError> {
    match section.text("host")?.trim_matches(['[', ']']) {
        name if name.eq_ignore_ascii_case("localhost") => Ok(Ipv4Addr::LOCALHOST.into()),
        address => match address.parse() {
            Ok(address) => Ok(address),
            Err(_) => Err(section.invalid("host", "an IP address or localhost")?),
        },
    }
}

/// The token itself must be in no message.
fn token(section: &Section<'_>) -> Result<Option<AdminToken>, ConfigError> {
    let value = section.value("token")?;
    match &value.kind {
        ValueKind::String(text) if text.is_empty() => Ok(None),
        // It travels in a header.
        ValueKind::String(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Some(AdminToken(text.clone())))
        }
        _ => Err(ConfigError::Invalid {
            setting: section.setting("token"),
            value: "not usable".to_owned(),
            origin: value.origin().unwrap_or(DEFAULT_ORIGIN).to_owned(),
            allowed: "a text in quotes, of visible ASCII characters without blanks".to_owned(),
        }),
    }
}

fn soketi_prefix(section: &Section<'_>) -> Result<String, ConfigError> {
    let text = section.text("soketi_prefix")?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    let starts_well = !text.starts_with(|first: char| first.is_ascii_digit());
    if !starts_well || !text.bytes().all(is_name) {
        let allowed = "the beginning of a metric's name, such as soketi_";
        return Err(section.invalid("soketi_prefix", allowed)?);
    }
    // Two metrics of one name would make the whole answer unreadable.
    if text.starts_with("resound") {
        let allowed = "another beginning than that of Resound's own names";
        return Err(section.invalid("soketi_prefix", allowed)?);
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::from_toml;

    #[test]
    fn the_defaults_are_reachable_from_this_machine_only() {
        let admin = from_toml("").expect("settings").admin;
        assert!(admin.enabled && !admin.is_public() && !admin.is_port_chosen);
        assert_eq!(admin.port, 9601);
        assert!(admin.token.is_none());
    }

    #[test]
    fn a_port_that_somebody_asked_for_is_known_as_such() {
        let admin = from_toml("[admin]\nport = 9601").expect("settings").admin;
        assert!(admin.is_port_chosen);
    }

    #[test]
    fn the_token_is_compared_and_shown_nowhere() {
        let settings = from_toml("[admin]\ntoken = \"hunter2\"").expect("settings");
        let token = settings.admin.token.as_ref().expect("a token");
        assert!(token.is("hunter2"));
        assert!(!token.is("hunter"));
        assert!(!token.is(""));
        assert!(!format!("{settings:?}").contains("hunter2"));
        let listed = settings.listing.iter().find(|l| l.key == "admin.token");
        assert_eq!(listed.map(|line| line.value.as_str()), Some("****"));
        for wrong in ["\"hunter2 hunter2\"", "[\"hunter2\"]", "22222"] {
            let sentence = from_toml(&format!("[admin]\ntoken = {wrong}"))
                .expect_err(wrong)
                .to_string();
            let shows = sentence.contains("hunter2") || sentence.contains("22222");
            assert!(!shows, "{sentence}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "host = \"example.com\"",
            "port = 65536",
            "soketi_prefix = \"1_\"",
            "soketi_prefix = \"so keti\"",
            "soketi_prefix = \"resound_\"",
            "live_queue_events_max = 1",
            "live_listeners_max = 100000",
            "tokn = \"x\"",
        ] {
            assert!(from_toml(&format!("[admin]\n{text}")).is_err(), "{text}");
        }
    }
}

//! `[limits]`: what one address may do, whatever app it speaks to. In all of them 0 means that there is no limit.
use super::{error::ConfigError, section::Section};

/// See the section in `default.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    pub connections_per_address: Option<u32>,
    pub handshakes_per_s_per_address: Option<u32>,
    pub handshake_burst_per_address: u32,
    pub auth_failures_per_min_per_address: Option<u32>,
    pub signature_failures_per_min_per_address: Option<u32>,
    pub addresses_max: usize,
}

pub(super) fn read(section: &Section<'_>) -> Result<LimitSettings, ConfigError> {
    Ok(LimitSettings {
        connections_per_address: section.limit("connections_per_address")?,
        handshakes_per_s_per_address: section.limit("handshakes_per_s_per_address")?,
        handshake_burst_per_address: section.u32("handshake_burst_per_address", 1..=u32::MAX)?,
        auth_failures_per_min_per_address: section.limit("auth_failures_per_min_per_address")?,
        signature_failures_per_min_per_address: section
            .limit("signature_failures_per_min_per_address")?,
        addresses_max: section.usize("addresses_max", 64..=100_000_000)?,
    })
}

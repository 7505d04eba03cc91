//! Presence members: who a connection is on a presence channel (P-1).
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub user_id: Arc<str>,
    /// raw JSON text of user_info, `{}` when absent or null
    pub user_info: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberLimits {
    pub user_id_chars_max: usize,
    pub user_info_bytes_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberError {
    /// unparsable, or no usable user_id (also too long, P-13)
    Invalid,
    /// P-14
    UserInfoTooLarge,
}

impl Member {
    pub fn parse(channel_data: &str, limits: MemberLimits) -> Result<Member, MemberError> {
        let _ = (channel_data, limits);
        todo!()
    }
}

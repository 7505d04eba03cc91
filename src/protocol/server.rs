//! Everything the server can say, each a function that returns a Frame.
use super::{
    channel::ChannelName,
    codes::{ClientError, CloseReason, SubscribeError},
    event::EventData,
    presence::Member,
    socket_id::SocketId,
};
use crate::frame::Frame;
use std::sync::Arc;

pub fn connection_established(socket_id: SocketId, activity_timeout_s: u32) -> Frame {
    let _ = (socket_id, activity_timeout_s);
    todo!()
}
pub fn pong() -> Frame {
    todo!()
}
/// non-fatal `pusher:error` (C-26, C-29)
pub fn error(error: &ClientError) -> Frame {
    let _ = error;
    todo!()
}
/// `pusher:error` that precedes the close frame (C-30)
pub fn fatal_error(reason: CloseReason) -> Frame {
    let _ = reason;
    todo!()
}
/// the close frame itself
pub fn close(reason: CloseReason) -> Frame {
    let _ = reason;
    todo!()
}
/// `pusher:subscription_error` on the channel, S-17 frame 1; the name may be invalid, so it is a plain string
pub fn subscription_error(channel: &str, error: &SubscribeError) -> Frame {
    let _ = (channel, error);
    todo!()
}
/// the `pusher:error` of S-17 frame 2
pub fn subscription_pusher_error(error: &SubscribeError) -> Frame {
    let _ = error;
    todo!()
}
pub fn subscription_succeeded(channel: &ChannelName) -> Frame {
    let _ = channel;
    todo!()
}
pub fn presence_subscription_succeeded(channel: &ChannelName, members: &[Arc<Member>]) -> Frame {
    let _ = (channel, members);
    todo!()
}
pub fn cache_miss(channel: &ChannelName) -> Frame {
    let _ = channel;
    todo!()
}
pub fn event(
    name: &str,
    channel: &ChannelName,
    data: &EventData<'_>,
    user_id: Option<&str>,
) -> Frame {
    let _ = (name, channel, data, user_id);
    todo!()
}
pub fn member_added(channel: &ChannelName, member: &Member) -> Frame {
    let _ = (channel, member);
    todo!()
}
pub fn member_removed(channel: &ChannelName, user_id: &str) -> Frame {
    let _ = (channel, user_id);
    todo!()
}

//! Subscribe and unsubscribe, all channel kinds.

use std::{sync::Arc, time::Instant};

use super::{Session, signin::check_own_channel};
use crate::{
    apps::App,
    cluster::{Place, Welcome},
    directory::Joined,
    frame::Frame,
    protocol::{
        channel::{ChannelKind, ChannelName},
        client::{ChannelData, SubscribeRequest},
        codes::{ClientError, CloseReason, SubscribeError},
        presence::{Member, MemberError, MemberLimits},
        server,
        signature::{check_channel_auth, check_member_auth},
    },
    webhook::Event,
};

/// Answers a subscription with exactly one success or failure (S-12).
pub fn subscribe(session: &mut Session, request: &SubscribeRequest<'_>) -> Result<(), ClientError> {
    let result = match check(session, request) {
        // Signing in was the subscription: the answer is all that is missing (U-12).
        Ok((channel, _)) if channel.kind() == ChannelKind::ServerToUser => {
            confirm(session, &channel, &[], None);
            Ok(())
        }
        Ok((channel, member)) => match session.subscriptions.get(&channel) {
            Some(user_id) => {
                check_same_member(&channel, user_id.as_ref(), member.as_deref())?;
                subscribe_again(session, &channel);
                return Ok(());
            }
            None => join(session, channel, member),
        },
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        refuse(session, &request.channel, &error);
    }
    Ok(())
}

/// Everything that can be said without looking at the channel itself.
fn check(
    session: &Session,
    request: &SubscribeRequest<'_>,
) -> Result<(ChannelName, Option<Arc<Member>>), SubscribeError> {
    let app = &session.app;
    let channel = ChannelName::parse(&request.channel, app.limits.channel_name_chars_max)
        .map_err(|_| SubscribeError::InvalidChannelName(request.channel.to_string()))?;
    let kind = channel.kind();
    if kind == ChannelKind::ServerToUser {
        check_own_channel(session, &channel)?;
        return Ok((channel, None));
    }
    let channel_data = match &request.channel_data {
        ChannelData::Absent => None,
        ChannelData::Text(text) => Some(text.as_ref()),
        ChannelData::NotText if kind.needs_auth() => {
            return Err(SubscribeError::InvalidChannelData(
                request.channel.to_string(),
            ));
        }
        ChannelData::NotText => None,
    };
    if kind.is_presence()
        && channel_data.is_none()
        && let Some(signed_in) = &session.signed_in
    {
        check_member_auth(
            &app.key,
            &app.secret,
            request.auth.as_deref(),
            session.link.socket_id(),
            &channel,
        )?;
        let member = signed_in.user.as_member().within(member_limits(app));
        let member = member.map_err(|error| no_member(app, &channel, error))?;
        return Ok((channel, Some(Arc::new(member))));
    }
    if kind.needs_auth() {
        check_channel_auth(
            &app.key,
            &app.secret,
            request.auth.as_deref(),
            session.link.socket_id(),
            &channel,
            channel_data,
        )?;
    }
    let member = match channel_data {
        Some(data) if kind.is_presence() => {
            let member = Member::parse(data, member_limits(app));
            Some(member.map_err(|error| no_member(app, &channel, error))?)
        }
        None if kind.is_presence() => {
            return Err(SubscribeError::MissingChannelData(
                request.channel.to_string(),
            ));
        }
        _ => None,
    };
    Ok((channel, member.map(Arc::new)))
}

fn member_limits(app: &App) -> MemberLimits {
    MemberLimits {
        user_id_chars_max: app.limits.presence_user_id_chars_max,
        user_info_bytes_max: app.limits.presence_user_info_bytes_max,
    }
}

fn no_member(app: &App, channel: &ChannelName, error: MemberError) -> SubscribeError {
    match error {
        MemberError::Invalid => SubscribeError::InvalidChannelData(channel.as_str().to_owned()),
        MemberError::UserInfoTooLarge => SubscribeError::UserInfoLimit {
            bytes_max: app.limits.presence_user_info_bytes_max,
        },
    }
}

/// On one channel a connection is one member.
fn check_same_member(
    channel: &ChannelName,
    user_id: Option<&Arc<str>>,
    member: Option<&Member>,
) -> Result<(), ClientError> {
    if user_id == member.map(|member| &member.user_id) {
        return Ok(());
    }
    let channel = channel.as_str().to_owned();
    Err(ClientError::ExistingSubscription(channel))
}

/// Success again, with the list of now; nobody else notices (S-14).
fn subscribe_again(session: &mut Session, channel: &ChannelName) {
    let key = session.channel_key(channel);
    if let Some(cluster) = session.node.cluster() {
        cluster.look(key, session.asker());
        session.await_look();
        return;
    }
    let (members, cached) = session.node.directory().look(&key, Instant::now());
    confirm(session, channel, &members, cached);
}

fn join(
    session: &mut Session,
    channel: ChannelName,
    member: Option<Arc<Member>>,
) -> Result<(), SubscribeError> {
    let max = session.app.limits.channels_per_connection_max;
    if session.subscriptions.len() + session.joins_awaited() >= max {
        return Err(SubscribeError::ChannelsLimit { max });
    }
    let key = session.channel_key(&channel);
    if let Some(cluster) = session.node.cluster() {
        let welcome = Welcome::Subscribed;
        cluster.join(&session.app, key, session.asker(), member, welcome);
        if channel.kind().needs_auth() {
            session.suspend_authorization();
        }
        session.await_join(channel);
        return Ok(());
    }
    let Joined {
        since,
        members,
        cached,
        is_first,
    } = session.node.directory().join(
        &session.app,
        &key,
        session.hub.worker(),
        member.as_ref(),
        Instant::now(),
    )?;
    let channel = session.hub.subscribe(key, session.key, since);
    if is_first {
        session.count_occupied(&channel);
    }
    confirm(session, &channel, &members, cached);
    let user_id = member.map(|member| member.user_id.clone());
    subscribed(session, channel, user_id);
    Ok(())
}

/// The cluster has let the connection in, and the hub has subscribed it and confirmed it.
pub fn joined(session: &mut Session, place: Place) {
    let (key, user_id) = place.keep();
    let channel = session.hub.shared_name(key);
    subscribed(session, channel, user_id);
}

fn subscribed(session: &mut Session, channel: ChannelName, user_id: Option<Arc<str>>) {
    session.link.metrics().subscribed.add(1);
    if channel.kind().needs_auth() {
        session.authorized();
    }
    tracing::debug!(
        app = session.app.id,
        socket_id = %session.link.socket_id(),
        channel = channel.as_str(),
        "subscribed"
    );
    let observer = session.node.observe();
    observer.subscribed(session.socket(), &channel, user_id.as_deref());
    session.subscriptions.insert(channel, user_id);
}

/// The frames of a success, in the order of S-13.
fn confirm(
    session: &Session,
    channel: &ChannelName,
    members: &[Arc<Member>],
    cached: Option<Frame>,
) {
    let kind = channel.kind();
    if kind.is_presence() {
        session.send(&server::presence_subscription_succeeded(channel, members));
    } else {
        session.send(&server::subscription_succeeded(channel));
    }
    if kind.is_cache() {
        match cached {
            Some(frame) => session.send(&frame),
            None => miss(session, channel),
        }
    }
}

/// There is nothing in the cache: the client is told, and the app, which may fill it (S-22).
fn miss(session: &Session, channel: &ChannelName) {
    session.send(&server::cache_miss(channel));
    let webhooks = session.node.webhooks();
    if webhooks.is_wanted(&session.app) {
        let channel = channel.clone();
        webhooks.raise(&session.app, Event::CacheMiss { channel });
    }
}

/// The two frames of a failure (S-17): one for Echo's `.error()`, one for clients that know only `pusher:error`. Encrypted
/// channels get no event on the channel, since the Java SDK would try to decrypt it.
pub fn refuse(session: &Session, channel: &str, error: &SubscribeError) {
    let is_over = session.note_refusal(
        "a subscription",
        &error.log_text(channel),
        error.is_wrong_signature(),
    );
    let observer = session.node.observe();
    observer.refused_subscription(session.socket(), channel, error);
    if !ChannelKind::of(channel).is_encrypted() {
        session.send(&server::subscription_error(channel, error));
    }
    session.send(&server::subscription_pusher_error(error));
    if is_over {
        session.link.close(CloseReason::TooManyAuthFailures);
    }
}

/// Never answered; leaving a channel one isn't on is silent (S-18).
pub fn unsubscribe(session: &mut Session, channel: &str) {
    let Ok(name) = ChannelName::parse(channel, session.app.limits.channel_name_chars_max) else {
        return;
    };
    if let Some((name, user_id)) = session.subscriptions.remove(&name) {
        end_subscription(session, &name, user_id.as_ref());
    }
}

/// What follows the end of a connection, the same as from unsubscribing everywhere (C-37).
pub fn leave_all(session: &mut Session) {
    for (channel, user_id) in session.subscriptions.take() {
        end_subscription(session, &channel, user_id.as_ref());
    }
}

fn end_subscription(session: &Session, channel: &ChannelName, user_id: Option<&Arc<str>>) {
    session.leave(channel, user_id);
    session.link.metrics().unsubscribed.add(1);
    let observer = session.node.observe();
    let user_id = user_id.map(|id| &**id);
    observer.unsubscribed(session.socket(), channel, user_id);
}

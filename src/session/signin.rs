//! Signing in as a user: what the user is sent, and whom it watches (part 5).

use std::{sync::Arc, time::Instant};

use super::Session;
use crate::{
    cluster::{Place, Welcome},
    frame::Frame,
    hub::inbox::ChannelKey,
    protocol::{
        channel::ChannelName,
        client::SigninRequest,
        codes::{ClientError, SubscribeError},
        server,
        signature::check_user_auth,
        user::User,
    },
};

/// Who a connection is, as long as it lasts (U-7).
pub struct SignedIn {
    pub user: User,
    /// the channels on which watched users' coming and going is told
    watching: Vec<ChannelKey>,
}

/// Signs the connection in, or in again (U-5).
pub fn signin(session: &mut Session, request: &SigninRequest<'_>) -> Result<(), ClientError> {
    let user = check(session, request)?;
    let success = server::signin_success(&request.user_data);
    let watching = match session.signed_in.take() {
        Some(before) => before.watching,
        None if session.node.cluster().is_some() => {
            ask_for_own_channel(session, user, success);
            return Ok(());
        }
        None => {
            join_own_channel(session, &user)?;
            Vec::new()
        }
    };
    session.send(&success);
    signed_in(session, user, watching);
    Ok(())
}

/// What follows the success, which has been sent. `watching`: what the user watched before.
pub fn signed_in(session: &mut Session, user: User, watching: Vec<ChannelKey>) {
    session.authorized();
    unwatch(session, watching);
    let watching = watch(session, &user);
    tracing::debug!(
        app = session.app.id,
        socket_id = %session.link.socket_id(),
        user_id = &*user.id,
        "signed in"
    );
    session.signed_in = Some(Box::new(SignedIn { user, watching }));
}

fn check(session: &Session, request: &SigninRequest<'_>) -> Result<User, ClientError> {
    let app = &session.app;
    if !app.users.authentication {
        return Err(ClientError::SigninDisabled);
    }
    check_user_auth(
        &app.key,
        &app.secret,
        &request.auth,
        session.link.socket_id(),
        &request.user_data,
    )?;
    let user = User::parse(
        &request.user_data,
        app.limits.channel_name_chars_max,
        app.users.watchlist_max,
    )
    .map_err(|_| ClientError::InvalidUserData)?;
    let before = session.signed_in.as_ref().map(|before| &before.user.id);
    if before.is_some_and(|id| *id != user.id) {
        return Err(ClientError::SignedInAsAnother);
    }
    Ok(user)
}

/// The cluster signs the connection in, so to say: the success comes with the user's channel.
fn ask_for_own_channel(session: &mut Session, user: User, success: Frame) {
    let Some(cluster) = session.node.cluster() else {
        return;
    };
    let key = own_channel(session, &user);
    let welcome = Welcome::Frame(success);
    cluster.join(&session.app, key, session.asker(), None, welcome);
    session.suspend_authorization();
    session.await_signin(user);
}

/// From here on the connection gets what is sent to the user, before it subscribes to anything (U-13).
fn join_own_channel(session: &Session, user: &User) -> Result<(), ClientError> {
    let key = own_channel(session, user);
    let joined = session.node.directory().join(
        &session.app,
        &key,
        session.hub.worker(),
        None,
        Instant::now(),
    );
    match joined {
        Ok(joined) => {
            if joined.is_first {
                session.count_occupied(&key.name);
            }
            session.hub.subscribe(key, session.key, joined.since);
            Ok(())
        }
        // No limit holds for users' channels.
        Err(_) => Err(ClientError::Congested),
    }
}

fn own_channel(session: &Session, user: &User) -> ChannelKey {
    session.channel_key(&ChannelName::server_to_user(&user.id))
}

/// Begins to watch the user's list, and tells its present state (U-22, U-24). In a cluster both come later
/// ([`watching`]).
fn watch(session: &mut Session, user: &User) -> Vec<ChannelKey> {
    if !session.app.users.watchlist {
        return Vec::new();
    }
    if user.is_watchlist_cut {
        session.send(&server::error(&ClientError::WatchlistTooLong {
            max: session.app.users.watchlist_max,
        }));
    }
    if let Some(cluster) = session.node.cluster() {
        if !user.watchlist.is_empty() {
            cluster.watch(&session.app, &user.watchlist, session.asker());
            session.await_watch();
        }
        return Vec::new();
    }
    let (mut online, mut offline) = (Vec::new(), Vec::new());
    let mut watching = Vec::with_capacity(user.watchlist.len());
    for id in &user.watchlist {
        let watched = session
            .node
            .directory()
            .watch(session.app.index, id, session.hub.worker());
        let list: &mut Vec<Arc<str>> = if watched.is_online {
            &mut online
        } else {
            &mut offline
        };
        list.push(id.clone());
        session
            .hub
            .subscribe(watched.channel.clone(), session.key, watched.since);
        watching.push(watched.channel);
    }
    if !watching.is_empty() {
        session.send(&server::watchlist_events(&online, &offline));
    }
    watching
}

fn unwatch(session: &Session, watching: Vec<ChannelKey>) {
    for channel in watching {
        session.hub.unsubscribe(&channel, session.key);
        let worker = session.hub.worker();
        match session.node.cluster() {
            Some(cluster) => cluster.leave(&session.app, &channel, worker, None),
            None => session.node.directory().unwatch(&channel, worker),
        }
    }
}

/// The connection watches its user's list from now on.
pub fn watching(session: &mut Session, places: Vec<Place>) {
    let channels = places.into_iter().map(|place| place.keep().0).collect();
    match &mut session.signed_in {
        Some(signed_in) => signed_in.watching = channels,
        None => unwatch(session, channels),
    }
}

/// Whether a subscription to this user channel is the connection's own (U-12, U-14).
pub fn check_own_channel(session: &Session, channel: &ChannelName) -> Result<(), SubscribeError> {
    let own = session.signed_in.as_ref().map(|own| &*own.user.id);
    if channel.user_id().is_some() && channel.user_id() == own {
        Ok(())
    } else {
        Err(SubscribeError::ServerToUser(channel.as_str().to_owned()))
    }
}

/// What follows the end of a connection (C-37).
pub fn sign_out(session: &mut Session) {
    let Some(SignedIn { user, watching }) = session.signed_in.take().map(|boxed| *boxed) else {
        return;
    };
    unwatch(session, watching);
    session.leave(&ChannelName::server_to_user(&user.id), None);
}

//! Client events: from one member to all others (E-1 to E-11).

use std::time::Duration;

use super::Session;
use crate::{
    apps::ClientEvents,
    node::MemberEvent,
    protocol::{channel::ChannelName, client::ClientEvent, codes::ClientError},
};

/// Checks a client event and publishes it to everybody on the channel but its sender.
pub fn publish(session: &Session, event: &ClientEvent<'_>) -> Result<(), ClientError> {
    let limits = &session.app.limits;
    if session.app.client_events == ClientEvents::None {
        return Err(ClientError::ClientEventsDisabled);
    }
    let channel = ChannelName::parse(&event.channel, limits.channel_name_chars_max)
        .map_err(|_| ClientError::ClientEventNotSubscribed(event.channel.to_string()))?;
    if !channel.kind().allows_client_events() {
        return Err(ClientError::ClientEventOnPublicChannel);
    }
    let subscription = session.subscriptions.get(&channel);
    if subscription.is_none() && session.app.client_events != ClientEvents::All {
        return Err(ClientError::ClientEventNotSubscribed(
            event.channel.to_string(),
        ));
    }
    if event.name.chars().count() > limits.event_name_chars_max {
        return Err(ClientError::EventNameTooLong {
            chars_max: limits.event_name_chars_max,
        });
    }
    if event.data.len_bytes() > limits.client_event_data_bytes_max {
        return Err(ClientError::EventDataTooLarge {
            bytes_max: limits.client_event_data_bytes_max,
        });
    }
    // Last, so that only what would go out is counted.
    if let Some(max) = limits.client_events_per_s
        && !session.client_events.take(max, Duration::from_secs(1))
    {
        return Err(ClientError::ClientEventRateLimited);
    }
    let sender = session.link.socket_id();
    let event = MemberEvent {
        name: &event.name,
        data: &event.data,
        sender,
        user_id: subscription.and_then(Option::as_ref),
    };
    session
        .node
        .publish_client_event(&session.app, &channel, event)
        .map_err(|_| ClientError::Congested)?;
    session.link.metrics().client_events.add(1);
    Ok(())
}

//! `GET /apps/{id}/channels` and `GET /apps/{id}/channels/{channel}`: what is occupied now (H-3, H-4, H-29 to H-31).
use super::{
    error::ApiError,
    info::{Attributes, CachedInfo, ChannelInfo, ChannelInfos, to_json},
    json,
    signed::Signed,
};
use crate::{
    node::Node,
    protocol::{channel::ChannelKind, request::Query},
};
use actix_web::{HttpResponse, web};

pub async fn list(node: web::Data<Node>, signed: Signed) -> Result<HttpResponse, ApiError> {
    let prefix = signed.query.get("filter_by_prefix").unwrap_or_default();
    let asked = attributes(&signed.query);
    check_list(asked, prefix)?;
    let channels = node.channels(&signed.app, prefix).await;
    let channels = channels
        .iter()
        .map(|(name, occupancy)| {
            (
                name,
                ChannelInfo::applicable(asked, name.kind(), *occupancy),
            )
        })
        .collect();
    Ok(json(ChannelInfos { channels }.to_json()))
}

pub async fn show(node: web::Data<Node>, signed: Signed) -> Result<HttpResponse, ApiError> {
    let channel = signed.channel()?;
    let asked = attributes(&signed.query);
    check_show(asked, channel.kind())?;
    let (occupancy, cached) = node.show(&signed.app, &channel).await;
    let info = ChannelInfo {
        occupied: Some(occupancy.subscription_count > 0),
        cache: asked
            .cache
            .then(|| cached.as_ref().and_then(CachedInfo::new)),
        ..ChannelInfo::applicable(asked, channel.kind(), occupancy)
    };
    Ok(json(to_json(&info)))
}

fn attributes(query: &Query) -> Attributes {
    Attributes::parse(query.get("info").unwrap_or_default())
}

/// H-29: only presence channels have users.
fn check_list(asked: Attributes, prefix: &str) -> Result<(), ApiError> {
    if asked.user_count && !prefix.starts_with("presence-") {
        return Err(ApiError::UserCountNeedsPrefix);
    }
    Ok(())
}

/// H-30: asking one channel for what its kind doesn't have is an error.
fn check_show(asked: Attributes, kind: ChannelKind) -> Result<(), ApiError> {
    if asked.user_count && !kind.is_presence() {
        return Err(ApiError::UserCountNotPresence);
    }
    if asked.cache && !kind.is_cache() {
        return Err(ApiError::CacheNotCached);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h29_user_count_needs_a_presence_prefix() {
        let check = |query, prefix| check_list(attributes(&Query::parse(query)), prefix);
        assert_eq!(check("info=user_count", "presence-"), Ok(()));
        assert_eq!(check("info=user_count", "presence-room."), Ok(()));
        assert_eq!(check("info=subscription_count,x", ""), Ok(()));
        for prefix in ["", "presence", "private-", "xpresence-"] {
            assert_eq!(
                check("info=user_count", prefix),
                Err(ApiError::UserCountNeedsPrefix)
            );
        }
        // arrays of ruby and php
        assert_eq!(
            check("info[]=subscription_count&info[]=user_count", ""),
            Err(ApiError::UserCountNeedsPrefix)
        );
    }

    #[test]
    fn h30_attributes_of_the_wrong_kind_are_refused() {
        use ChannelKind::*;
        let check = |list, kind| check_show(Attributes::parse(list), kind);
        for kind in [Presence, PresenceCache] {
            assert_eq!(check("user_count,subscription_count", kind), Ok(()));
        }
        for kind in [Public, Cache, Private, PrivateCache, PrivateEncrypted] {
            assert_eq!(check("subscription_count,unknown", kind), Ok(()));
            assert_eq!(
                check("user_count", kind),
                Err(ApiError::UserCountNotPresence)
            );
        }
        for kind in [Cache, PrivateCache, PrivateEncryptedCache, PresenceCache] {
            assert_eq!(check("cache", kind), Ok(()));
        }
        for kind in [Public, Private, PrivateEncrypted, Presence, ServerToUser] {
            assert_eq!(check("cache", kind), Err(ApiError::CacheNotCached));
        }
    }
}

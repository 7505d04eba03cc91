//! `GET /apps/{id}/channels/{channel}/users`: who is on a presence channel (H-5, H-32).
use super::{error::ApiError, info::to_json, json, signed::Signed};
use crate::node::Node;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct Users<'a> {
    users: Vec<User<'a>>,
}

/// Ids are strings whatever type the app signed them with: go and swift take nothing else.
#[derive(Serialize)]
struct User<'a> {
    id: &'a str,
}

pub async fn list(node: web::Data<Node>, signed: Signed) -> Result<HttpResponse, ApiError> {
    let channel = signed.channel()?;
    if !channel.kind().is_presence() {
        return Err(ApiError::UsersNotPresence);
    }
    Ok(json(answer(&node.users(&signed.app, &channel))))
}

fn answer(ids: &[Arc<str>]) -> String {
    let users = ids.iter().map(|id| User { id }).collect();
    to_json(&Users { users })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h32_ids_are_strings() {
        assert_eq!(answer(&[]), r#"{"users":[]}"#);
        assert_eq!(
            answer(&["1".into(), "a\"b".into()]),
            r#"{"users":[{"id":"1"},{"id":"a\"b"}]}"#
        );
    }
}

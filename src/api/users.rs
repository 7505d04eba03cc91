//! `GET /apps/{id}/channels/{channel}/users`: who is on a presence channel (H-5, H-32), and
//! `POST /apps/{id}/users/{user_id}/terminate_connections` (H-6, H-7, H-33).
use super::{EMPTY, error::ApiError, info::to_json, json, signed::Signed};
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
    let users = node.users(&signed.app, &channel).await;
    Ok(json(answer(&users)))
}

/// `POST …/users/{user_id}/terminate_connections`: closes what is signed in as the user (H-6, H-33). Who isn't there needs
/// no closing: the answer is the same.
pub async fn terminate_connections(
    node: web::Data<Node>,
    signed: Signed,
) -> Result<HttpResponse, ApiError> {
    let user_id = signed.path_part("user_id");
    let terminated = node.terminate_user(&signed.app, &user_id).await;
    terminated.map_err(|_| ApiError::Congested {
        published: 0,
        of: 1,
    })?;
    Ok(json(EMPTY))
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

//! `GET /apps/{id}/connections`: how many sockets an app has open (H-9, Reverb's addition; Laravel Pulse asks for it).
use super::{error::ApiError, json, signed::Signed};
use crate::node::Node;
use actix_web::{HttpResponse, web};

pub async fn count(node: web::Data<Node>, signed: Signed) -> Result<HttpResponse, ApiError> {
    let count = node.connection_count(&signed.app).await;
    Ok(json(format!(r#"{{"connections":{count}}}"#)))
}

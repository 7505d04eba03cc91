//! `POST /apps/{id}/channels/{channel}/events`: how old SDKs publish (H-34). The raw body is the event's data, everything else
//! is in the query string.
use super::{
    JSON,
    error::ApiError,
    events::{Message, check_data, check_name, publish, socket_id},
    info::Attributes,
    signed::Signed,
};
use crate::{
    apps::AppLimits,
    node::Node,
    protocol::{event::EventData, request::Query},
};
use actix_web::{HttpResponse, http::header::CONTENT_TYPE, web};
use std::borrow::Cow;

/// Answers 202, unlike everything else: what these SDKs were written for.
pub async fn trigger(node: web::Data<Node>, signed: Signed) -> Result<HttpResponse, ApiError> {
    let channel = signed.channel()?;
    let message = parse(signed.text()?, &signed.query, &signed.app.limits)?;
    signed.take_events(&node, 1)?;
    let taken = publish(&node, &signed.app, &channel, &message).await;
    let congested = || ApiError::Congested {
        published: 0,
        of: 1,
    };
    if let Some(taken) = taken.map_err(|_| congested())? {
        taken.await.map_err(|_| congested())?;
    }
    Ok(HttpResponse::Accepted()
        .insert_header((CONTENT_TYPE, JSON))
        .body("{}"))
}

fn parse<'a>(body: &str, query: &'a Query, limits: &AppLimits) -> Result<Message<'a>, ApiError> {
    let name = query.get("name").ok_or(ApiError::NameNotString)?;
    check_name(name, limits)?;
    let data = EventData::from_text(body);
    check_data(&data, limits)?;
    Ok(Message {
        name: Cow::Borrowed(name),
        data,
        except: query.get("socket_id").map(socket_id).transpose()?,
        info: Attributes::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::events::tests::limits, *};
    use crate::protocol::socket_id::SocketId;

    fn refused(body: &str, query: &str, expected: ApiError) {
        let query = Query::parse(query);
        assert_eq!(parse(body, &query, &limits()).expect_err(body), expected);
    }

    #[test]
    fn h34_body_is_the_data() {
        // V-33
        let query = Query::parse("name=foo&socket_id=1234.1234");
        let message = parse(r#"{"some":"data"}"#, &query, &limits()).unwrap();
        assert_eq!(message.name, "foo");
        assert_eq!(message.data.as_json(), r#""{\"some\":\"data\"}""#);
        assert_eq!(message.except, Some(SocketId::new(1234, 1234)));
        let message = parse("not JSON \n", &query, &limits()).unwrap();
        assert_eq!(message.data.as_json(), r#""not JSON \n""#);
        assert!(parse("", &query, &limits()).is_ok());
    }

    #[test]
    fn h34_rules_of_events_apply() {
        refused("", "", ApiError::NameNotString);
        refused("", "name=", ApiError::NameEmpty);
        refused("", "name=pusher:x", ApiError::NameReserved);
        refused(
            "",
            "name=n&socket_id=1",
            ApiError::InvalidSocketId("1".into()),
        );
        refused(
            &"x".repeat(10_241),
            "name=n",
            ApiError::DataTooLarge(10_240),
        );
    }
}

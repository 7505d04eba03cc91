//! `POST /apps/{id}/batch_events`: several events, each to one channel (H-2, H-27, H-28).
use super::{
    EMPTY,
    error::ApiError,
    events::{Fields, Message, channel_name, object, publish},
    info::{ChannelInfo, to_json},
    once,
    signed::Signed,
};
use crate::{
    apps::{App, AppLimits},
    node::Node,
    protocol::{channel::ChannelName, json::string},
};
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
pub(super) struct Batch<'a> {
    #[serde(borrow, default)]
    batch: Option<&'a RawValue>,
    #[serde(borrow, default)]
    idempotency_key: Option<&'a RawValue>,
}

impl<'a> Batch<'a> {
    pub(super) fn read(json: Option<&'a str>) -> Result<Batch<'a>, ApiError> {
        object(json.ok_or(ApiError::Missing("batch"))?)
    }
}

/// One answer per message, in the order of the request: go's SDK wants an array.
#[derive(Serialize)]
struct BatchInfos {
    batch: Vec<ChannelInfo<'static>>,
}

pub async fn trigger_batch(
    node: web::Data<Node>,
    signed: Signed,
) -> Result<HttpResponse, ApiError> {
    let body = Batch::read(signed.json()?)?;
    let messages = parse(&body, &signed.app.limits)?;
    signed.take_events(&node, messages.len())?;
    let key = once::key(&signed, body.idempotency_key)?;
    let app = &signed.app;
    once::once(
        &node,
        &signed,
        key,
        &messages,
        async |(message, channel)| publish(&node, app, channel, message).await,
        async || answer(&node, app, &messages).await,
    )
    .await
}

/// An entry for each message if any of them asked for attributes, else `{}` (H-28).
async fn answer(
    node: &Node,
    app: &App,
    messages: &[(Message<'_>, ChannelName)],
) -> Cow<'static, str> {
    if messages.iter().all(|(message, _)| message.info.is_empty()) {
        return EMPTY.into();
    }
    let asked = messages
        .iter()
        .filter(|(message, _)| !message.info.is_empty());
    let found = node.occupancy(app, asked.map(|(_, channel)| channel)).await;
    let mut found = found.into_iter();
    let batch = messages
        .iter()
        .map(|(message, channel)| match message.info.is_empty() {
            true => ChannelInfo::default(),
            false => {
                let occupancy = found.next().unwrap_or_default();
                ChannelInfo::applicable(message.info, channel.kind(), occupancy)
            }
        })
        .collect();
    to_json(&BatchInfos { batch }).into()
}

/// All messages, or the first failure: nothing is published unless everything can be.
pub(super) fn parse<'a>(
    body: &Batch<'a>,
    limits: &AppLimits,
) -> Result<Vec<(Message<'a>, ChannelName)>, ApiError> {
    let array = body.batch.ok_or(ApiError::Missing("batch"))?;
    let items: Vec<&RawValue> =
        serde_json::from_str(array.get()).map_err(|_| ApiError::BatchNotArray)?;
    if items.len() > limits.batch_events_max {
        return Err(ApiError::BatchTooLong(limits.batch_events_max));
    }
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| {
            parse_item(item, limits).map_err(|error| ApiError::BatchItem {
                item: index + 1,
                error: Box::new(error),
            })
        })
        .collect()
}

fn parse_item<'a>(
    item: &'a RawValue,
    limits: &AppLimits,
) -> Result<(Message<'a>, ChannelName), ApiError> {
    let fields: Fields<'a> = object(item.get())?;
    let message = Message::parse(&fields, None, limits)?;
    let name = fields
        .channel
        .and_then(string)
        .ok_or(ApiError::Missing("channel"))?;
    Ok((message, channel_name(&name, limits)?))
}

#[cfg(test)]
mod tests {
    use super::{super::events::tests::limits, *};

    fn parse_text<'a>(
        body: Option<&'a str>,
        limits: &AppLimits,
    ) -> Result<Vec<(Message<'a>, ChannelName)>, ApiError> {
        parse(&Batch::read(body)?, limits)
    }

    fn accepted(body: &str, expected: &[(&str, &str, &str)]) {
        let limits = limits();
        let messages = parse_text(Some(body), &limits).unwrap_or_else(|error| panic!("{error}"));
        let found: Vec<_> = messages
            .iter()
            .map(|(message, channel)| {
                (
                    message.name.as_ref(),
                    message.data.as_json(),
                    channel.as_str(),
                )
            })
            .collect();
        assert_eq!(found, expected);
    }

    fn refused(body: &str, expected: ApiError) {
        assert_eq!(
            parse_text(Some(body), &limits()).err(),
            Some(expected),
            "{body}"
        );
    }

    fn item(item: usize, error: ApiError) -> ApiError {
        ApiError::BatchItem {
            item,
            error: Box::new(error),
        }
    }

    #[test]
    fn h27_messages_in_order() {
        // V-23
        accepted(
            r#"{"batch":[{"channel":"project-3","name":"foo","data":"{\"some\":\"data\"}"},{"channel":"presence-lobby","name":"bar","data":"plain text","socket_id":"1234.1234","info":"user_count"}]}"#,
            &[
                ("foo", r#""{\"some\":\"data\"}""#, "project-3"),
                ("bar", r#""plain text""#, "presence-lobby"),
            ],
        );
        accepted(r#"{"batch":[]}"#, &[]);
        accepted(r#"{ "x": 1, "batch" : [ ] }"#, &[]);
    }

    #[test]
    fn h27_any_failure_refuses_the_batch() {
        let good = r#"{"channel":"a","name":"n","data":""}"#;
        let second = |bad: &str| format!(r#"{{"batch":[{good},{bad}]}}"#);
        refused(
            &second(r#"{"channel":"a","data":""}"#),
            item(2, ApiError::NameNotString),
        );
        refused(
            &second(r#"{"channel":"a b","name":"n","data":""}"#),
            item(2, ApiError::InvalidChannelName("a b".into())),
        );
        refused(
            &second(r#"{"channels":["a"],"name":"n","data":""}"#),
            item(2, ApiError::Missing("channel")),
        );
        refused(
            &second(r#"{"channel":["a"],"name":"n","data":""}"#),
            item(2, ApiError::Missing("channel")),
        );
        let large = "x".repeat(10_241);
        refused(
            &second(&format!(r#"{{"channel":"a","name":"n","data":"{large}"}}"#)),
            item(2, ApiError::DataTooLarge(10_240)),
        );
        for bad in ["null", "1", "[]", r#"["n","d"]"#] {
            refused(
                &second(bad),
                item(2, ApiError::InvalidJson("expected an object".into())),
            );
        }
    }

    #[test]
    fn h27_shape_of_the_body() {
        assert_eq!(
            parse_text(None, &limits()).err(),
            Some(ApiError::Missing("batch"))
        );
        refused("{}", ApiError::Missing("batch"));
        refused(r#"{"batch":null}"#, ApiError::Missing("batch"));
        for batch in ["{}", "1", r#""[]""#, "true"] {
            refused(&format!(r#"{{"batch":{batch}}}"#), ApiError::BatchNotArray);
        }
        refused("[]", ApiError::InvalidJson("expected an object".into()));
    }

    #[test]
    fn l5_at_most_10_messages() {
        let batch = |count: usize| {
            let items = vec![r#"{"channel":"a","name":"n","data":""}"#; count].join(",");
            format!(r#"{{"batch":[{items}]}}"#)
        };
        accepted(&batch(10), &[("n", r#""""#, "a"); 10]);
        refused(&batch(11), ApiError::BatchTooLong(10));
    }

    #[test]
    fn h28_an_array_with_an_object_per_message() {
        let infos = BatchInfos {
            batch: vec![
                ChannelInfo::default(),
                ChannelInfo {
                    user_count: Some(2),
                    ..ChannelInfo::default()
                },
            ],
        };
        assert_eq!(to_json(&infos), r#"{"batch":[{},{"user_count":2}]}"#);
    }
}

//! A signed event, posted as PHP would: does the server know the app, and do secret and clock fit?
use super::{
    Context, Finding,
    answer::{Who, stranger, who},
    place::Place,
};
use crate::client::{self, http::Answer, one_line};
use actix_http::header::HttpDate;
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) const CHECK: &str = "event";
const CLOCK: &str = "clock";

/// Seconds that two clocks may differ before it is worth a word; the `Date` header has whole seconds, and answers take time.
const SKEW_MAX_S: i64 = 30;

/// The name of the event that comes back.
pub(super) const EVENT: &str = "resound-doctor";

pub(super) async fn post(context: &Context<'_>, place: &Place) -> Result<Answer, String> {
    let name = json!(EVENT);
    let channel = json!(context.channel);
    let body = format!(r#"{{"name":{name},"data":"{{}}","channel":{channel}}}"#);
    let http = &context.asking(&place.address).http;
    let answer = http
        .post_signed(&place.address, context.app, "/events", body)
        .await;
    answer.map_err(|error| format!("no answer from {}: {error}", place.address))
}

/// A finding for the clock, if the answer says what time it is, and one for the event.
pub(super) async fn check(context: &Context<'_>, place: &Place) -> Vec<Finding> {
    let answer = match post(context, place).await {
        Ok(answer) => answer,
        Err(text) => {
            let cure = format!("look what answers at {}", place.address.authority());
            return vec![Finding::wrong(CHECK, text, cure)];
        }
    };
    let skew_s = skew_s(answer.header("date"), client::now_s());
    let judged = judge(context, place, &answer, skew_s);
    skew_s.map(clock).into_iter().chain([judged]).collect()
}

/// How far this machine's clock is ahead of the server's.
fn skew_s(date: &str, now_s: u64) -> Option<i64> {
    let date: SystemTime = date.parse::<HttpDate>().ok()?.into();
    let date_s = date.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let date_s = i64::try_from(date_s).ok()?;
    i64::try_from(now_s).ok()?.checked_sub(date_s)
}

fn clock(skew_s: i64) -> Finding {
    match skew_s.abs() <= SKEW_MAX_S {
        true => Finding::ok(CLOCK, "this machine's clock and the server's agree"),
        false => Finding::warning(
            CLOCK,
            format!("this machine's clock is {}", direction(skew_s)),
            "let both machines set their clocks by NTP: signatures are refused when they differ by minutes",
        ),
    }
}

fn direction(skew_s: i64) -> String {
    let (seconds, word) = (
        skew_s.unsigned_abs(),
        if skew_s < 0 { "behind" } else { "ahead of" },
    );
    format!("{seconds} s {word} the server's")
}

fn judge(context: &Context<'_>, place: &Place, answer: &Answer, skew_s: Option<i64>) -> Finding {
    let app = &context.app.id;
    let at = &place.address;
    let body = answer.body.trim();
    let said = one_line(body);
    let refused = |text: String, cure: &str| Finding::wrong(CHECK, text, cure);
    // The API's own answers are the only ones with 200, and with these words.
    match (answer.status, body) {
        (200, body) if body.starts_with('{') => {
            Finding::ok(CHECK, format!("{at} takes events signed by app {app}"))
        }
        (401, body) if body.starts_with("Timestamp expired") => refused(
            format!(
                "{at} refuses the event because the clocks differ: this machine's is {}",
                skew_s.map_or("far from the server's".to_owned(), direction)
            ),
            "let both machines set their clocks by NTP (timedatectl set-ntp true)",
        ),
        (401, body) if body.starts_with("Unknown auth_key") => refused(
            format!(
                "{at} has the app {app}, but with another key than {}",
                context.app.key
            ),
            "give both sides the same id, key and secret, and restart the server",
        ),
        (401, body) if body.starts_with("Invalid signature") => refused(
            format!("{at} has another secret for app {app} than the settings here"),
            "give both sides the same secret (REVERB_APP_SECRET), and restart or reload the server; with a cached config also `php artisan config:cache`",
        ),
        (404, body) if body.starts_with("No matching application") => refused(
            format!("{at} doesn't know the app {app}"),
            "add the app to the settings of that server, or correct the id (REVERB_APP_ID)",
        ),
        (413, _) => refused(
            format!("{at} refuses even a small event as too large: {said}"),
            "raise server.request_bytes_max (REVERB_MAX_REQUEST_SIZE), or the proxy's limit (client_max_body_size)",
        ),
        (403, "Application disabled") => refused(
            format!("app {app} is disabled at {at}"),
            "set enabled = true for it",
        ),
        (503, _) if who(answer) == Who::Resound => refused(
            format!("{at} takes no events at the moment: {said}"),
            "try again when it has less to do, or when its restart is over",
        ),
        (status, _) => match who(answer) {
            Who::Resound | Who::Unknown(..) => refused(
                format!("{at} refuses the event with status {status}: {said}"),
                "see what the answer says",
            ),
            who => stranger(CHECK, place, &who, false),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_is_measured_by_the_date_header() {
        let check = |date: &str, expected: Option<i64>| {
            assert_eq!(skew_s(date, 784_111_777), expected, "{date}");
        };
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(0));
        check("Sun, 06 Nov 1994 08:39:37 GMT", Some(600));
        check("Sun, 06 Nov 1994 08:50:37 GMT", Some(-60));
        check("", None);
        check("yesterday", None);
        assert_eq!(direction(600), "600 s ahead of the server's");
        assert_eq!(direction(-60), "60 s behind the server's");
    }
}

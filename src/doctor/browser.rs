//! Where browsers connect: the `VITE_` variables against the server, and whether a page may connect there at all.
use super::{
    Context, Finding, Report, address,
    place::{Place, browser_family},
    socket,
};
use crate::config::LaravelApp;

const CHECK: &str = "browser";
const ROUND_TRIP: &str = "browser round trip";

pub(super) async fn check(
    context: &Context<'_>,
    laravel: &LaravelApp,
    backend: &Place,
    report: &mut Report<'_>,
) {
    let family = browser_family(laravel);
    let browser = &laravel.browser;
    let Some(key) = browser.key.as_deref().filter(|key| !key.is_empty()) else {
        report.add(Finding::skipped(
            CHECK,
            format!(
                "{family}_APP_KEY is not set in {}, so nothing is known of the browser's side",
                laravel.source
            ),
        ));
        return;
    };
    if key != context.app.key {
        report.add(Finding::wrong(
            CHECK,
            format!(
                "browsers use the key {key} ({family}_APP_KEY), but the app's is {}",
                context.app.key
            ),
            format!(
                "set {family}_APP_KEY to the app's key and build the assets again (npm run build)"
            ),
        ));
        return;
    }
    let place = match Place::of_browser(laravel, backend) {
        Some(Ok(place)) => place,
        Some(Err(finding)) => {
            report.add(finding);
            return;
        }
        None => {
            report.add(Finding::warning(
                CHECK,
                format!("{family}_HOST is not set in {}, so browsers go to Pusher's own servers unless the JavaScript names another", laravel.source),
                format!("set {family}_HOST, {family}_PORT and {family}_SCHEME, and build the assets again (npm run build)"),
            ));
            return;
        }
    };
    let is_secure_page = context
        .origin
        .as_deref()
        .is_some_and(|origin| origin.starts_with("https:"));
    match is_secure_page && !place.address.is_tls {
        true => mixed_content(context, backend, &place, report).await,
        false if place.address.is_same_place(&backend.address) => report.add(Finding::ok(
            CHECK,
            format!("browsers connect to the same address, {}", place.address),
        )),
        false => {
            let whole = connect(context, backend, &place, key).await;
            report.add_all(whole);
        }
    }
}

/// A page that came over TLS: browsers allow no `ws:`, and pusher-js connects with TLS whatever the scheme says.
async fn mixed_content(
    context: &Context<'_>,
    backend: &Place,
    place: &Place,
    report: &mut Report<'_>,
) {
    let secure = place.over_tls();
    let findings = connect(context, backend, &secure, &context.app.key).await;
    let is_broken = findings
        .iter()
        .any(|finding| finding.verdict == super::Verdict::Wrong);
    let origin = context.origin.as_deref().unwrap_or_default();
    let cure = place.scheme_setting("https");
    report.add(match is_broken {
        true => Finding::wrong(
            CHECK,
            format!("pages of {origin} came over TLS, so browsers refuse ws://{}, and wss:// doesn't work there", place.address.authority()),
            format!("let browsers connect to a proxy or server that speaks TLS, then {cure}"),
        ),
        false => Finding::warning(
            CHECK,
            format!("pages of {origin} came over TLS, but the scheme for WebSockets is http: it works only because pusher-js uses TLS all the same"),
            cure,
        ),
    });
    report.add_all(findings);
}

/// The way of a browser, up to the first thing that is wrong.
async fn connect(context: &Context<'_>, backend: &Place, place: &Place, key: &str) -> Vec<Finding> {
    let mut findings = address::check(context, place).await;
    let is_wrong = |finding: &Finding| finding.verdict == super::Verdict::Wrong;
    if findings.iter().any(is_wrong) {
        return findings;
    }
    let (socket, finding) = socket::open(context, place, key).await;
    findings.push(finding);
    if let Some(socket) = socket {
        findings.push(socket::round_trip(context, backend, socket, ROUND_TRIP).await);
    }
    findings
}

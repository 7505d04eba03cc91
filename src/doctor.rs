//! `resound doctor`: looks at everything between an event in PHP and a page in a browser, in the order in which an event
//! travels, and names the first thing that is wrong with its cure.
//!
//! Each file below is a check or a few that belong together. They are asked one after the other; what can't be checked
//! because something before it is wrong is skipped and says so.
mod address;
mod answer;
mod assets;
mod browser;
mod certificate;
mod event;
mod machine;
mod place;
mod project;
mod redis;
mod socket;
mod spoken;

use crate::{
    apps::App,
    client::{self, Address, http::Http, tls},
    config::{ConfigError, LaravelApp, Settings},
};
use clap::Args;
use place::Place;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use std::{
    fmt,
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct DoctorArguments {
    /// Public address to check, such as https://ws.example.com [default: what the Laravel app says, else the server's own]
    #[arg(long, value_parser = Address::parse)]
    pub url: Option<Address>,
    /// Certificates to trust besides the usual ones (PEM)
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Page that the browser is on, such as https://example.com [default: APP_URL]
    #[arg(long)]
    pub origin: Option<String>,
    /// App to sign for [default: the Laravel app's, else the first]
    #[arg(long, value_name = "ID")]
    pub app: Option<String>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
    /// Patience with each step, in seconds [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=600))]
    pub timeout: Option<u32>,
}

/// Something is wrong.
pub const EXIT_WRONG: u8 = 1;
/// The settings can't be used, so nothing else could be checked (EX_CONFIG).
pub const EXIT_SETTINGS: u8 = 78;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    /// nothing wrong, but good to know
    Note,
    /// works, but not for long or not for everybody
    Warning,
    Wrong,
    /// not checked; the text says why
    Skipped,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Warning => "warning",
            Verdict::Wrong => "wrong",
            Verdict::Skipped => "skipped",
        })
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub check: String,
    pub verdict: Verdict,
    /// a sentence without its full stop
    pub text: String,
    /// what to do about it
    pub cure: Option<String>,
}

impl Finding {
    fn new(check: impl Into<String>, verdict: Verdict, text: impl Into<String>) -> Finding {
        let check = check.into();
        let text = text.into();
        Finding {
            check,
            verdict,
            text,
            cure: None,
        }
    }

    fn ok(check: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding::new(check, Verdict::Ok, text)
    }

    fn note(check: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding::new(check, Verdict::Note, text)
    }

    fn skipped(check: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding::new(check, Verdict::Skipped, text)
    }

    fn warning(
        check: impl Into<String>,
        text: impl Into<String>,
        cure: impl Into<String>,
    ) -> Finding {
        let mut finding = Finding::new(check, Verdict::Warning, text);
        finding.cure = Some(cure.into());
        finding
    }

    fn wrong(
        check: impl Into<String>,
        text: impl Into<String>,
        cure: impl Into<String>,
    ) -> Finding {
        let mut finding = Finding::new(check, Verdict::Wrong, text);
        finding.cure = Some(cure.into());
        finding
    }

    fn to_json(&self) -> Value {
        json!({
            "check": self.check,
            "verdict": self.verdict.to_string(),
            "text": self.text,
            "cure": self.cure,
        })
    }
}

/// `wrong    certificate   it expired …`, with the cure below when it isn't told at the end.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8} {:17} {}", self.verdict, self.check, self.text)?;
        match (&self.cure, self.verdict) {
            (Some(cure), Verdict::Warning) => write!(f, "; {cure}"),
            _ => Ok(()),
        }
    }
}

/// All that was found, in the order of the checks. Tells each finding to `on_finding` at once: some checks take a while.
pub struct Report<'a> {
    pub findings: Vec<Finding>,
    on_finding: &'a mut dyn FnMut(&Finding),
}

/// A check of the way to the server found it broken: what lies behind can't be checked.
struct Blocked;

impl<'a> Report<'a> {
    pub fn new(on_finding: &'a mut dyn FnMut(&Finding)) -> Report<'a> {
        Report {
            findings: Vec::new(),
            on_finding,
        }
    }

    fn add(&mut self, finding: Finding) {
        (self.on_finding)(&finding);
        self.findings.push(finding);
    }

    fn add_all(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }

    /// Adds a finding without which it makes no sense to go on.
    fn need(&mut self, finding: Finding) -> Result<(), Blocked> {
        let verdict = finding.verdict;
        self.add(finding);
        match verdict {
            Verdict::Wrong => Err(Blocked),
            _ => Ok(()),
        }
    }

    fn need_all(&mut self, findings: impl IntoIterator<Item = Finding>) -> Result<(), Blocked> {
        findings
            .into_iter()
            .try_for_each(|finding| self.need(finding))
    }

    pub fn first_wrong(&self) -> Option<&Finding> {
        let mut findings = self.findings.iter();
        findings.find(|finding| finding.verdict == Verdict::Wrong)
    }

    fn has(&self, check: &str) -> bool {
        self.findings.iter().any(|finding| finding.check == check)
    }

    fn to_json(&self) -> Value {
        let findings: Vec<Value> = self.findings.iter().map(Finding::to_json).collect();
        json!({
            "ok": self.first_wrong().is_none(),
            "first_wrong": self.first_wrong().map(Finding::to_json),
            "findings": findings,
        })
    }

    fn summary(&self) -> String {
        let Some(first) = self.first_wrong() else {
            let is_warning = |finding: &&Finding| finding.verdict == Verdict::Warning;
            return match self.findings.iter().filter(is_warning).count() {
                0 => "All is well.".to_owned(),
                1 => "Nothing is wrong; there is one warning.".to_owned(),
                count => format!("Nothing is wrong; there are {count} warnings."),
            };
        };
        let cure = first.cure.as_deref().unwrap_or("there is no known cure");
        format!(
            "The first thing that is wrong ({}): {}.\nWhat to do: {cure}.",
            first.check, first.text
        )
    }
}

/// What all checks need.
struct Context<'a> {
    settings: &'a Settings,
    app: &'a App,
    roots: RootCertStore,
    checked: Asking,
    unchecked: Asking,
    /// of the page in the browser; `None` = the place itself
    origin: Option<String>,
    /// for each step
    patience: Duration,
    /// nobody else uses it
    channel: String,
}

/// How servers are asked.
struct Asking {
    tls: Arc<ClientConfig>,
    http: Http,
}

impl Asking {
    fn new(tls: ClientConfig, patience: Duration) -> Asking {
        Asking {
            http: Http::new(tls.clone(), patience),
            tls: Arc::new(tls),
        }
    }
}

impl<'a> Context<'a> {
    /// As its users ask there. At the server's own address are none, so any certificate will do.
    fn asking(&self, address: &Address) -> &Asking {
        match address.is_own {
            true => &self.unchecked,
            false => &self.checked,
        }
    }

    fn laravel(&self) -> Option<&'a LaravelApp> {
        self.settings.laravel.as_ref()
    }
}

/// The steps between a connection and an event that comes back, by their checks' names.
const WAY: [&str; 6] = [
    place::ADDRESS,
    place::TLS,
    answer::CHECK,
    event::CHECK,
    socket::CHECK,
    socket::ROUND_TRIP,
];

/// Runs all checks and returns the exit code. `settings` as they were loaded, or why they weren't.
pub fn run(
    settings: Result<&Settings, &ConfigError>,
    arguments: &DoctorArguments,
    out: &mut impl Write,
) -> Result<u8, String> {
    let unwritten = |error: io::Error| match error.kind() {
        // The reader has gone: the exit code still tells.
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(format!("can't write to standard output: {error}")),
    };
    let mut written = Ok(());
    let mut on_finding = |finding: &Finding| {
        if !arguments.json && written.is_ok() {
            written = writeln!(out, "{finding}").and_then(|()| out.flush());
        }
    };
    let mut report = Report::new(&mut on_finding);
    match settings {
        Err(error) => report.add(project::unusable(error)),
        Ok(settings) => examine(settings, arguments, &mut report)?,
    }
    let (json, summary) = (report.to_json(), report.summary());
    let is_well = report.first_wrong().is_none();
    written.or_else(unwritten)?;
    let end = match arguments.json {
        true => format!("{json}\n"),
        false => format!("\n{summary}\n"),
    };
    out.write_all(end.as_bytes()).or_else(unwritten)?;
    Ok(match (settings.is_ok(), is_well) {
        (false, _) => EXIT_SETTINGS,
        (true, false) => EXIT_WRONG,
        (true, true) => 0,
    })
}

/// All checks but that of the settings, which are loaded. Fails with a sentence if the arguments can't be used.
pub fn examine(
    settings: &Settings,
    arguments: &DoctorArguments,
    report: &mut Report<'_>,
) -> Result<(), String> {
    let extra = match &arguments.ca {
        Some(path) => tls::read_certificates(path)?,
        None => Vec::new(),
    };
    report.add_all(project::check(settings, arguments));
    let redis = redis::check(settings, patience(arguments));
    report.add_all(client::block_on(redis).map_err(|error| error.to_string())?);
    match client::find_app(settings, arguments.app.as_deref()) {
        Ok(app) => {
            let roots = tls::roots(&extra);
            let context = context(settings, arguments, app, roots);
            let checks = way_and_back(&context, arguments, report);
            client::block_on(checks).map_err(|error| error.to_string())?;
        }
        Err(_) => skip_way(report, "there is no app to sign for"),
    }
    if let Some(laravel) = &settings.laravel {
        report.add(assets::check(laravel));
    }
    report.add(machine::file_limit());
    report.add_all(settings.laravel.as_ref().map(machine::queue));
    Ok(())
}

/// For each step.
fn patience(arguments: &DoctorArguments) -> Duration {
    Duration::from_secs(arguments.timeout.unwrap_or(10).into())
}

fn context<'a>(
    settings: &'a Settings,
    arguments: &DoctorArguments,
    app: &'a App,
    roots: RootCertStore,
) -> Context<'a> {
    let patience = patience(arguments);
    let checked = tls::checked(roots.clone());
    let app_url = || settings.laravel.as_ref()?.app_url.as_deref();
    let origin = arguments.origin.as_deref().or_else(app_url);
    Context {
        settings,
        app,
        roots,
        checked: Asking::new(checked, patience),
        unchecked: Asking::new(tls::unchecked(), patience),
        origin: origin.map(place::origin),
        patience,
        channel: format!("resound-doctor-{:016x}", rand::random::<u64>()),
    }
}

async fn way_and_back(context: &Context<'_>, arguments: &DoctorArguments, report: &mut Report<'_>) {
    let place = match Place::of_backend(context, arguments) {
        Ok(place) => place,
        Err(finding) => {
            report.add(finding);
            skip_way(report, "there is no address to ask");
            return;
        }
    };
    if let Err(Blocked) = backend_side(context, &place, report).await {
        let first = report.first_wrong().map(|finding| finding.check.clone());
        let first = first.unwrap_or_default();
        skip_way(report, &format!("needs what is wrong above ({first})"));
    }
    if arguments.url.is_none()
        && let Some(laravel) = context.laravel()
    {
        browser::check(context, laravel, &place, report).await;
    }
}

/// What is asked at the address to which PHP posts.
async fn backend_side(
    context: &Context<'_>,
    place: &Place,
    report: &mut Report<'_>,
) -> Result<(), Blocked> {
    report.need_all(address::check(context, place).await)?;
    report.need(answer::check(context, place).await)?;
    report.need_all(event::check(context, place).await)?;
    let (socket, finding) = socket::open(context, place, &context.app.key).await;
    report.need(finding)?;
    if let Some(socket) = socket {
        report.need(socket::round_trip(context, place, socket, socket::ROUND_TRIP).await)?;
    }
    Ok(())
}

fn skip_way(report: &mut Report<'_>, why: &str) {
    for check in WAY {
        if !report.has(check) {
            report.add(Finding::skipped(check, why));
        }
    }
}

//! Logging: `tracing` events to standard error, as text for people or JSON for machines.
use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    borrow::Cow,
    io::IsTerminal,
    panic::{self, PanicHookInfo},
    sync::OnceLock,
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::LevelFilter, fmt, layer::SubscriberExt, reload,
    util::SubscriberInitExt,
};

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// a filter that `log::init` understands (checked)
    pub level: String,
    pub format: LogFormat,
}

/// What `log.level` may be, for messages.
pub const ALLOWED_LEVELS: &str =
    "off, error, warn, info, debug or trace, or a list with parts such as info,resound::hub=debug";

/// The filter at work, which can be replaced.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging for the whole process. Fails only when something else in the process did so before.
pub fn init(
    settings: &LogSettings,
) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
    let filter = filter(&settings.level).unwrap_or_else(|| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match settings.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()?;
    // `try_init` lets only one come this far
    let _ = FILTER.set(handle);
    log_panics();
    Ok(())
}

/// A panic becomes a line like any other, in the format of the others and found by who looks for errors. What it ends is the
/// task it happened in: one connection, one request. The exceptions end the process (`server.rs`).
fn log_panics() {
    let otherwise = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !tracing::enabled!(tracing::Level::ERROR) {
            return otherwise(panic);
        }
        tracing::error!("{}", panic_line(panic));
        // as asked for by RUST_BACKTRACE
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            tracing::error!("the way there:\n{trace}");
        }
    }));
}

fn panic_line(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map(ToString::to_string);
    let place = place.as_deref().unwrap_or("an unknown place");
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let reason = reason(panic.payload());
    format!(
        "thread {thread} panicked at {place}: {reason}; this is a fault of Resound, please report it"
    )
}

/// What was said when panicking, in one line.
fn reason(payload: &dyn Any) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("for no reason that could be read");
    text.replace(['\n', '\r'], " ")
}

/// From now on goes by this level. The format stays, and where nothing logs nothing begins to.
pub fn change_level(settings: &LogSettings) {
    if let (Some(at_work), Some(filter)) = (FILTER.get(), filter(&settings.level)) {
        // fails only when nothing logs any more
        let _ = at_work.reload(filter);
    }
}

/// The filter for a text such as `info` or `info,resound::hub=debug`; `None` when it isn't one.
///
/// A word alone must be a level: `tracing` would take `verbose` for the name of a part and log nothing else.
pub fn filter(text: &str) -> Option<EnvFilter> {
    let is_understood = |directive: &str| {
        directive.contains('=') || directive.trim().parse::<LevelFilter>().is_ok()
    };
    if !text
        .split(',')
        .all(|part| !part.is_empty() && is_understood(part))
    {
        return None;
    }
    EnvFilter::builder().parse(without_library_talk(text)).ok()
}

/// What the HTTP library tells of its own start, and as errors of clients that don't speak HTTP (we say that ourselves, of
/// each address once a second), is for those who look for a fault: they ask for debug, or for the library by name.
fn without_library_talk(text: &str) -> Cow<'_, str> {
    let mut levels = text.split(',').filter_map(|part| part.trim().parse().ok());
    let level = levels.next_back().unwrap_or(LevelFilter::ERROR);
    if level == LevelFilter::OFF || level > LevelFilter::INFO || text.contains("actix") {
        return text.into();
    }
    let start = match level {
        LevelFilter::INFO => ",actix_server=warn",
        _ => "",
    };
    format!("{text}{start},actix_http::h1::dispatcher=off").into()
}

#[cfg(test)]
mod tests {
    use super::{filter, reason, without_library_talk};

    #[test]
    fn the_reason_of_a_panic_is_one_line() {
        assert_eq!(reason(&"left\n right"), "left  right");
        assert_eq!(reason(&"a text".to_owned()), "a text");
        assert_eq!(reason(&7), "for no reason that could be read");
    }

    #[test]
    fn levels_and_parts_are_told_from_nonsense() {
        let check = |text: &str, understood: bool| {
            assert_eq!(filter(text).is_some(), understood, "{text:?}");
        };
        check("info", true);
        check("DEBUG", true);
        check("off", true);
        check("info,resound::hub=debug", true);
        check("resound=trace", true);
        check("", false);
        check("verbose", false);
        check("info,", false);
        check("info,hub", false);
        check("resound=loud", false);
        check("a=b=c", false);
    }

    #[test]
    fn the_http_library_is_heard_by_those_who_ask() {
        let check = |text: &str, added: &str| {
            assert_eq!(without_library_talk(text), format!("{text}{added}"));
            assert!(filter(text).is_some());
        };
        let clients = ",actix_http::h1::dispatcher=off";
        let both = ",actix_server=warn,actix_http::h1::dispatcher=off";
        check("info", both);
        check("INFO", both);
        check("info,resound::hub=debug", both);
        check("warn", clients);
        check("error", clients);
        check("resound=trace", clients);
        check("off", "");
        check("debug", "");
        check("trace", "");
        check("info,actix_http=debug", "");
    }
}

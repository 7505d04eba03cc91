//! Logging: `tracing` events to standard error, as text for people or JSON for machines.
use std::io::IsTerminal;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

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

/// Starts logging for the whole process. Fails only when something else in the process did so before.
pub fn init(
    settings: &LogSettings,
) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
    let filter = filter(&settings.level).unwrap_or_else(|| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
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
    // What the HTTP library tells of its own start is of interest to those who look for a fault only.
    let quieter = match text.eq_ignore_ascii_case("info") {
        true => "info,actix_server=warn",
        false => text,
    };
    EnvFilter::builder().parse(quieter).ok()
}

#[cfg(test)]
mod tests {
    use super::filter;

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
}

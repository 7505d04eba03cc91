//! Arguments, logging, run, exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use resound::{
    cli::{self, Cli, Command},
    config::{self, Settings},
    health,
    log::{self, LogFormat},
    server::{self, limits},
    welcome,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("resound: {error}");
            exit_code(error.as_ref())
        }
    }
}

/// What a process manager is told: with these settings another start ends the same way, or it may not.
fn exit_code(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    /// EX_CONFIG
    const CONFIGURATION: u8 = 78;
    let is_start = |error: &server::StartError| error.is_configuration();
    match error.downcast_ref().is_some_and(is_start) || error.is::<config::ConfigError>() {
        true => ExitCode::from(CONFIGURATION),
        false => ExitCode::FAILURE,
    }
}

type Failure = Box<dyn std::error::Error>;

fn run(cli: &Cli) -> Result<(), Failure> {
    let settings = config::load(&cli.options.overrides(), &config::process_variables())?;
    match &cli.command {
        Some(Command::Config) => print(&cli::config_listing(&settings))
            .map_err(|error| format!("can't write to standard output: {error}"))?,
        Some(Command::Health { url }) => health::check(&settings, url.as_deref())?,
        None | Some(Command::Start) => serve(cli, settings)?,
    }
    Ok(())
}

fn serve(cli: &Cli, settings: Settings) -> Result<(), Failure> {
    log::init(&settings.log).map_err(|error| error.to_string())?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let (files_max, warning) = limits::raise_file_limit();
    limits::check_files(files_max, settings.server.workers)?;
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    let log_format = settings.log.format;
    let inherited = server::Inherited::from_environment().map_err(server::StartError::from)?;
    actix_rt::System::new().block_on(async {
        let signals = server::StopSignals::listen()?;
        let reload_signal = server::ReloadSignal::listen()?;
        let running = server::start_with(settings, files_max, inherited)?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            "listening on {}",
            running.address
        );
        // Who reads JSON wants nothing else in between.
        if log_format == LogFormat::Text
            && let Err(error) = print(&welcome::text(&running))
        {
            tracing::warn!("can't write to standard output: {error}");
        }
        let overrides = cli.options.overrides();
        actix_rt::spawn(server::reload_on(
            reload_signal,
            running.node.clone(),
            running.certificates.clone(),
            move || config::load(&overrides, &config::process_variables()),
        ));
        running.until_stopped(signals).await?;
        Ok(())
    })
}

/// Writes to standard output. A reader that has gone (`resound config | head`) is no failure.
fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

//! Arguments, logging, run, exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use resound::{
    bench::{self, UsageError},
    cli::{self, Cli, Command},
    config::{self, ConfigError, Settings},
    doctor::{self, DoctorArguments},
    health,
    import::{self, ImportError},
    log::{self, LogFormat},
    nodes, publish,
    server::{self, limits},
    tail, welcome,
};

/// Why not the system's: docs/decisions/allocator.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    refuse_huge_pages();
    let cli = Cli::parse();
    let ended = match &cli.command {
        // The one command that has something to say about settings that can't be used.
        Some(Command::Doctor(arguments)) => examine(&cli, arguments),
        // knows nothing of settings
        Some(Command::Bench(arguments)) => {
            bench::run(arguments, &mut io::stdout().lock()).map(ExitCode::from)
        }
        _ => run(&cli).map(|()| ExitCode::SUCCESS),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("resound: {error}");
            exit_code(&error)
        }
    }
}

/// Linux may give 2 MiB for the first byte that is used of them: three times the memory at the start, and most of what clients give
/// back stays in use. It made nothing faster (docs/decisions/allocator.md).
fn refuse_huge_pages() {
    // A kernel that doesn't know the question has only more memory in use.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Settings that can't be used are `EX_CONFIG` of sysexits.h, so that a process manager need not try again; clap ends with 2
/// on a wrong command line.
fn exit_code(error: &Failure) -> ExitCode {
    let is_start = |error: &server::StartError| error.is_configuration();
    let is_configuration = error.is::<ConfigError>()
        || error.is::<ImportError>()
        || error.downcast_ref().is_some_and(is_start);
    match is_configuration {
        true => ExitCode::from(78),
        false if error.is::<UsageError>() => ExitCode::from(2),
        false => ExitCode::FAILURE,
    }
}

type Failure = Box<dyn std::error::Error>;

fn run(cli: &Cli) -> Result<(), Failure> {
    // reads other settings than those of this process
    if let Some(Command::Import { from }) = &cli.command {
        return print_out(&import::from(from)?);
    }
    let settings = config::load(&cli.options.overrides(), &config::process_variables())?;
    match &cli.command {
        Some(Command::Config) => print_out(&cli::config_listing(&settings))?,
        Some(Command::Import { .. }) => {}
        Some(Command::Health { url }) => {
            let healthy = health::check(&settings, url.as_deref())?;
            if let Some(remark) = health::remark(healthy) {
                print(&format!("{remark}\n"))?;
            }
        }
        Some(Command::Publish(arguments)) => {
            let answer = publish::run(&settings, arguments)?;
            print(&format!("{answer}\n"))?;
        }
        Some(Command::Tail(arguments)) => {
            tail::run(&settings, arguments, &mut io::stdout().lock())?;
        }
        Some(Command::Nodes(arguments)) => print(&nodes::run(&settings, arguments)?)?,
        // `main` asks them, with settings or without
        Some(Command::Doctor(_) | Command::Bench(_)) => {}
        None | Some(Command::Start) => serve(cli, settings)?,
    }
    Ok(())
}

fn examine(cli: &Cli, arguments: &DoctorArguments) -> Result<ExitCode, Failure> {
    let settings = config::load(&cli.options.overrides(), &config::process_variables());
    let code = doctor::run(settings.as_ref(), arguments, &mut io::stdout().lock())?;
    Ok(ExitCode::from(code))
}

fn serve(cli: &Cli, settings: Settings) -> Result<(), Failure> {
    log::init(&settings.log).map_err(|error| error.to_string())?;
    if !settings.files.is_empty() {
        tracing::info!("settings read from {}", settings.files.join(", "));
    }
    for note in &settings.notes {
        tracing::debug!("{note}");
    }
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let (files_max, warning) = limits::raise_file_limit(settings.server.workers);
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

fn print_out(text: &str) -> Result<(), Failure> {
    print(text).map_err(|error| format!("can't write to standard output: {error}").into())
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

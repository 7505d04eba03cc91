//! Arguments, logging, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use resound::{
    cli::{self, Cli, Command},
    config::{self, Settings},
    health, log, server, welcome,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("resound: {error}");
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error>;

fn run(cli: &Cli) -> Result<(), Failure> {
    let settings = config::load(&cli.options.overrides(), &config::process_variables())?;
    match &cli.command {
        Some(Command::Config) => print!("{}", cli::config_listing(&settings)),
        Some(Command::Health { url }) => health::check(&settings, url.as_deref())?,
        None | Some(Command::Start) => serve(cli, settings)?,
    }
    Ok(())
}

fn serve(cli: &Cli, settings: Settings) -> Result<(), Failure> {
    log::init(&settings.log).map_err(|error| error.to_string())?;
    for warning in settings.warnings.iter().chain(&cli.options.warnings()) {
        tracing::warn!("{warning}");
    }
    let (files_max, warning) = server::limits::raise_file_limit();
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    actix_rt::System::new().block_on(async {
        let running = server::start(settings, files_max)?;
        print!("{}", welcome::text(&running));
        running.until_stopped().await?;
        Ok(())
    })
}

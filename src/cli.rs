//! The command line: what can be asked of the binary, and how `resound config` prints the settings.
use crate::{
    bench::BenchArguments,
    config::{Overrides, Settings},
    doctor::DoctorArguments,
    nodes::NodesArguments,
    publish::PublishArguments,
    tail::TailArguments,
};
use clap::{ArgAction, Args, Parser, Subcommand};
use std::{fmt::Write, path::PathBuf};

/// A server for the Pusher Channels protocol: WebSockets for Laravel Echo and every Pusher SDK.
#[derive(Debug, Parser)]
#[command(name = "resound", version, about, args_override_self = true)]
pub struct Cli {
    #[command(flatten)]
    pub options: Options,
    /// nothing asked = run the server
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct Options {
    /// IP address to listen on [default: 0.0.0.0, or 127.0.0.1 with the development app]
    #[arg(long, global = true, value_name = "ADDRESS")]
    host: Option<String>,
    /// Port to listen on; 0 takes a free one [default: 8080]
    #[arg(long, global = true)]
    port: Option<String>,
    /// Path in front of every route, such as /reverb [default: none]
    #[arg(long, global = true)]
    path: Option<String>,
    /// Settings file: TOML, or soketi's JSON [default: resound.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Environment file in the form Laravel reads [default: .env, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Read .env.NAME instead of .env, if there is one, as artisan does
    #[arg(long, global = true, value_name = "NAME")]
    env: Option<String>,
    /// Log at level debug
    #[arg(long, global = true)]
    debug: bool,
    /// Host name whose Herd or Valet certificate is used [default: REVERB_HOST]
    #[arg(long, global = true, value_name = "NAME")]
    hostname: Option<String>,
    /// No TLS, whatever certificates are set or found
    #[arg(long, global = true)]
    no_tls: bool,
    #[command(flatten)]
    artisan: ArtisanOptions,
}

/// What `php artisan` takes with every command: taken and without effect, so that its command lines still work.
#[derive(Clone, Debug, Default, Args)]
struct ArtisanOptions {
    // counted, since artisan takes each more than once
    #[arg(long, short = 'n', global = true, hide = true, action = ArgAction::Count)]
    no_interaction: u8,
    #[arg(long, global = true, hide = true, action = ArgAction::Count)]
    ansi: u8,
    #[arg(long, global = true, hide = true, action = ArgAction::Count)]
    no_ansi: u8,
    #[arg(long, short = 'q', global = true, hide = true, action = ArgAction::Count)]
    quiet: u8,
    #[arg(long, global = true, hide = true, action = ArgAction::Count)]
    silent: u8,
    #[arg(long, short = 'v', global = true, hide = true, action = ArgAction::Count)]
    verbose: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the server (the same as no command)
    // Reverb's and soketi's words, so that a process manager's line changes only its program
    #[command(name = "start", alias = "reverb:start")]
    Start,
    /// Print the settings in force, and where each came from
    Config,
    /// Print a Laravel project's or soketi's settings as a resound.toml
    Import {
        /// A Laravel project's folder, its .env, config/reverb.php or bootstrap/cache/config.php; soketi's JSON file
        #[arg(value_name = "FILE|DIR")]
        from: PathBuf,
    },
    /// Ask a running server whether it is up; the exit code is the answer
    Health {
        /// Where to ask [default: what the settings say]
        #[arg(long)]
        url: Option<String>,
    },
    /// Check everything between PHP, the server and browsers, and name the first thing that is wrong
    Doctor(DoctorArguments),
    /// Send an event as the app would, and print the answer
    Publish(PublishArguments),
    /// Print what happens on channels, a line for each event
    Tail(TailArguments),
    /// List the servers of a cluster: where they run, their versions and what they have to do
    Nodes(NodesArguments),
    /// Put load on a server of the Pusher protocol, count every message, and print figures
    Bench(BenchArguments),
}

impl Options {
    pub fn overrides(&self) -> Overrides {
        Overrides {
            // a folder that is gone has no files to look for
            folder: std::env::current_dir().ok(),
            env_file: self.env_file.clone(),
            env: self.env.clone(),
            file: self.config.clone(),
            host: self.host.clone(),
            port: self.port.clone(),
            path: self.path.clone(),
            debug: self.debug,
            hostname: self.hostname.clone(),
            no_tls: self.no_tls,
        }
    }
}

/// The text of `resound config`: a line for each setting, aligned, with its origin.
pub fn config_listing(settings: &Settings) -> String {
    let width = |of: fn(&crate::config::Setting) -> &str| {
        let widths = settings.listing.iter().map(|line| of(line).chars().count());
        // one long list must not push every origin off the screen
        widths.filter(|width| *width <= 48).max().unwrap_or(0)
    };
    let (key_width, value_width) = (width(|line| &line.key), width(|line| &line.value));
    let mut text = String::new();
    for line in &settings.listing {
        // writing to a String cannot fail
        let _ = writeln!(
            text,
            "{:key_width$} = {:value_width$}  # from {}",
            line.key, line.value, line.origin
        );
    }
    for warning in &settings.warnings {
        let _ = writeln!(text, "# warning: {warning}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Cli {
        Cli::try_parse_from(line.split_whitespace()).expect(line)
    }

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn reverb_and_soketi_command_lines_run_the_server() {
        let check = |line: &str| {
            let cli = parse(line);
            assert!(matches!(cli.command, None | Some(Command::Start)), "{line}");
            cli.options
        };
        check("resound");
        check("resound start");
        let options = check("resound reverb:start --host=127.0.0.1 --port=9000 --debug");
        assert_eq!(options.overrides().host.as_deref(), Some("127.0.0.1"));
        assert_eq!(options.overrides().port.as_deref(), Some("9000"));
        assert!(options.overrides().debug);
        let options = check("resound --path /ws start --hostname ws.example.com");
        assert_eq!(options.overrides().path.as_deref(), Some("/ws"));
        assert_eq!(
            options.overrides().hostname.as_deref(),
            Some("ws.example.com")
        );
        assert!(!options.overrides().no_tls);
        let options = check("resound start --config=resound.toml");
        assert_eq!(options.overrides().file, Some("resound.toml".into()));
        assert!(check("resound start --no-tls").overrides().no_tls);
    }

    #[test]
    fn options_of_artisan_are_taken() {
        let line = "resound reverb:start -n --no-interaction --ansi --no-ansi -q --quiet --silent -vvv --verbose --env=staging";
        let cli = parse(line);
        assert_eq!(cli.command, Some(Command::Start));
        assert_eq!(cli.options.overrides().env.as_deref(), Some("staging"));
        let cli = parse("resound -v --env-file ../.env");
        assert_eq!(cli.options.overrides().env_file, Some("../.env".into()));
        assert_eq!(cli.options.overrides().env, None);
        assert!(cli.options.overrides().folder.is_some());
    }

    #[test]
    fn the_other_commands() {
        assert_eq!(parse("resound config").command, Some(Command::Config));
        let health = |url: Option<&str>| {
            Some(Command::Health {
                url: url.map(str::to_owned),
            })
        };
        assert_eq!(parse("resound health").command, health(None));
        let line = "resound health --url http://127.0.0.1:8080/up";
        assert_eq!(
            parse(line).command,
            health(Some("http://127.0.0.1:8080/up"))
        );
        for line in ["resound stop", "resound --prot 1", "resound --debug=yes"] {
            assert!(
                Cli::try_parse_from(line.split_whitespace()).is_err(),
                "{line}"
            );
        }
    }

    #[test]
    fn the_listing_is_aligned_and_masks_secrets() {
        let settings = crate::config::from_toml(
            "[[apps]]\nid = \"7\"\nkey = \"k\"\nsecret = \"hunter2\"\n[server]\nport = 9",
        )
        .expect("settings");
        let text = config_listing(&settings);
        assert!(!text.contains("hunter2"));
        let line = |key: &str| {
            let found = text.lines().find(|line| line.starts_with(key));
            found.unwrap_or_else(|| panic!("no {key} in {text}"))
        };
        assert!(line("server.port ").ends_with("# from the given text"));
        assert!(line("apps.7.secret ").contains("= **** "));
        let column = |key: &str| line(key).find(" # from");
        assert_eq!(column("server.port "), column("apps.7.secret "));
        assert_eq!(column("server.port "), column("log.level "));
    }
}

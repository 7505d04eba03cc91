//! Replays every recorded exchange of `compat-fixtures/` against the built server; the format is described there.
//! Set `FIXTURE` to part of a file name to replay only those, `RESOUND_BIN` to replay against another binary.

#[path = "fixtures/fixture.rs"]
mod fixture;
#[path = "fixtures/placeholders.rs"]
mod placeholders;
#[path = "fixtures/replay.rs"]
mod replay;
#[path = "fixtures/same.rs"]
mod same;
#[path = "fixtures/server.rs"]
mod server;

use std::path::{Path, PathBuf};

#[tokio::test]
async fn every_recorded_exchange_is_answered_as_recorded() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("compat-fixtures");
    let wanted = std::env::var("FIXTURE").unwrap_or_default();
    let files: Vec<PathBuf> = ["clients", "php", "sdks"]
        .iter()
        .flat_map(|folder| json_files(&root.join(folder)))
        .filter(|file| file.to_string_lossy().contains(&wanted))
        .collect();
    assert!(!files.is_empty(), "no fixture matches {wanted:?}");

    let mut failures = Vec::new();
    for file in &files {
        if let Err(reason) = replay_file(file).await {
            let name = file.strip_prefix(&root).unwrap_or(file).display();
            failures.push(format!("{name}: {reason}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} fixtures failed:\n{}",
        failures.len(),
        files.len(),
        failures.join("\n")
    );
}

async fn replay_file(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let fixture = fixture::Fixture::parse(&text)?;
    let server = server::Server::start(&fixture).await?;
    let outcome = replay::replay(&fixture, server.address()).await;
    outcome.map_err(|reason| format!("{reason}\n  {}", fixture.about()))
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect();
    files.sort();
    files
}

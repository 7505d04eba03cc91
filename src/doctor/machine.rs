//! This machine: open files, containers, and who sends the events that wait in a queue.
use super::Finding;
use crate::config::LaravelApp;
use rlimit::Resource;
use std::{fs, path::Path};

const LIMIT: &str = "file limit";
const QUEUE: &str = "queue";

/// Each connection is a file; below this a busy day is too much.
const FILES_WANTED: u64 = 10_000;

/// Of this process. The server's may differ: it runs under a manager that sets its own.
pub(super) fn file_limit() -> Finding {
    let Ok((soft, hard)) = Resource::NOFILE.get() else {
        return Finding::skipped(LIMIT, "the system doesn't say how many files may be open");
    };
    let text = format!(
        "{soft} open files, {hard} at most, in this shell; Resound raises its own to the maximum that its manager gives it"
    );
    match hard < FILES_WANTED {
        false => Finding::ok(LIMIT, text),
        true => Finding::warning(
            LIMIT,
            format!("{text}: that is about {hard} connections"),
            "raise the hard limit where the server is started (LimitNOFILE= in systemd, minfds in supervisord, --ulimit nofile= in Docker)",
        ),
    }
}

/// An event that no worker takes from the queue is never sent, and nobody says so.
pub(super) fn queue(laravel: &LaravelApp) -> Finding {
    match laravel.queue.as_deref() {
        Some("sync") => Finding::ok(QUEUE, "QUEUE_CONNECTION is sync: events are sent at once"),
        Some("null") => Finding::warning(
            QUEUE,
            "QUEUE_CONNECTION is null: Laravel throws events away unsent (all but ShouldBroadcastNow)",
            "set it to sync, or to a queue for which `php artisan queue:work` runs",
        ),
        Some(name) => Finding::note(
            QUEUE,
            format!(
                "QUEUE_CONNECTION is {name}: events are sent by a worker, so `php artisan queue:work` must run (all but ShouldBroadcastNow)"
            ),
        ),
        None => Finding::note(
            QUEUE,
            "events are sent by a queue worker unless QUEUE_CONNECTION is sync: see that `php artisan queue:work` runs",
        ),
    }
}

/// Whether this process runs in a container, where `localhost` is the container itself.
pub(super) fn is_container() -> bool {
    let marks = ["/.dockerenv", "/run/.containerenv"];
    let groups = fs::read_to_string("/proc/1/cgroup").unwrap_or_default();
    let runtimes = ["docker", "kubepods", "containerd", "libpod"];
    marks.iter().any(|mark| Path::new(mark).exists())
        || runtimes.iter().any(|runtime| groups.contains(runtime))
}

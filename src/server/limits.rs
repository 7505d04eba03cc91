//! The file limit: each socket is a file, and the default of 1,024 is far too low for this server.

use rlimit::Resource;

/// Files that no connection gets: the log, the listener, epoll, webhooks, Redis.
const OWN_FILES: u64 = 64;

/// Files a worker opens for itself, with room to spare: epoll, wake-ups, its end of the listener. So many, if that is more.
const FILES_PER_WORKER: u64 = 8;

/// Besides those, files of connections that aren't sockets: HTTP, PHP's for instance, and clients that are being told why they
/// are refused.
const FILES_FOR_HTTP: u64 = 64;

/// This share of all files is kept back for both, if that is more.
const RESERVED_SHARE: u64 = 50;

fn own_files(workers: usize) -> u64 {
    OWN_FILES.max(FILES_PER_WORKER.saturating_mul(workers as u64))
}

/// Files kept back for everything that isn't a client's socket.
fn reserved_files(files_max: u64, workers: usize) -> u64 {
    let least = own_files(workers).saturating_add(FILES_FOR_HTTP);
    least.max(files_max / RESERVED_SHARE)
}

/// Below this many files a warning is due.
const FILES_WANTED: u64 = 10_000;

/// Raises the soft file limit to the hard one; returns what is in force. A sentence to log comes along when that is low.
pub fn raise_file_limit(workers: usize) -> (u64, Option<String>) {
    let limit = rlimit::increase_nofile_limit(u64::MAX)
        .or_else(|_| Resource::NOFILE.get_soft())
        .unwrap_or(1024);
    let warning = (limit < FILES_WANTED).then(|| {
        format!(
            "only {limit} open files are allowed, so at most {} connections: raise the hard limit (LimitNOFILE= in systemd, minfds in supervisord, --ulimit nofile= in Docker, `ulimit -Hn`)",
            connections_max(None, limit, workers)
        )
    });
    (limit, warning)
}

/// The file limit is so low that the server itself couldn't run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "only {allowed} open files are allowed, but Resound needs more than {needed} before the first client connects: raise the hard limit (LimitNOFILE= in systemd, minfds in supervisord, --ulimit nofile= in Docker, `ulimit -Hn`)"
)]
pub struct TooFewFiles {
    allowed: u64,
    needed: u64,
}

/// Refuses a limit at which the workers couldn't start or not one client could connect.
pub fn check_files(files_max: u64, workers: usize) -> Result<(), TooFewFiles> {
    let needed = own_files(workers).saturating_add(FILES_FOR_HTTP);
    if files_max <= needed {
        return Err(TooFewFiles {
            allowed: files_max,
            needed,
        });
    }
    Ok(())
}

/// Sockets this node takes: what is set, and never more than the file limit allows.
pub fn connections_max(set: Option<usize>, files_max: u64, workers: usize) -> usize {
    let by_files = files_max.saturating_sub(reserved_files(files_max, workers));
    let by_files = usize::try_from(by_files).unwrap_or(usize::MAX);
    set.unwrap_or(usize::MAX).min(by_files.max(1))
}

/// Connections of any kind that may be open at a time.
pub fn accepted_max(files_max: u64, workers: usize) -> usize {
    let by_files = files_max.saturating_sub(own_files(workers));
    usize::try_from(by_files.max(1)).unwrap_or(usize::MAX)
}

/// Connections that are no sockets yet, or never will be, of one worker; over it the others get what comes. What waits for a worker
/// that stands still must not take everybody's files: nobody counts it but the system.
pub fn unserved_max(accepted_max: usize, workers: usize) -> usize {
    const LEAST: usize = 64;
    const MOST: usize = 25_000;
    (accepted_max / workers.max(1)).clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_by_setting_and_files() {
        assert_eq!(connections_max(None, 1024, 2), 896);
        assert_eq!(connections_max(Some(100), 1024, 2), 100);
        assert_eq!(connections_max(Some(5000), 1024, 2), 896);
        assert_eq!(connections_max(None, 10, 1), 1);
        assert_eq!(connections_max(None, 20_000, 2), 19_600);
        assert_eq!(accepted_max(20_000, 2), 19_936);
        assert_eq!(accepted_max(1024, 64), 512);
        assert_eq!(accepted_max(10, 1), 1);
    }

    /// Who would be one socket too many is told so, over a connection that there must be room for; PHP must get in as well.
    #[test]
    fn there_is_room_for_more_connections_than_sockets() {
        for workers in [1, 2, 8, 64, 1024] {
            for files_max in [200, 1024, 8320, 20_000, 1_048_576] {
                if check_files(files_max, workers).is_ok() {
                    let sockets = connections_max(None, files_max, workers);
                    let accepted = accepted_max(files_max, workers);
                    assert!(sockets + 64 <= accepted, "{files_max} {workers}");
                }
            }
        }
    }

    #[test]
    fn a_worker_that_stands_still_leaves_files_for_the_others() {
        assert_eq!(unserved_max(accepted_max(20_000, 2), 2), 9_968);
        assert_eq!(unserved_max(accepted_max(1_048_576, 8), 8), 25_000);
        assert_eq!(unserved_max(accepted_max(1_048_576, 64), 64), 16_376);
        assert_eq!(unserved_max(accepted_max(1024, 64), 64), 64);
    }

    #[test]
    fn a_limit_that_nobody_could_live_with_is_refused() {
        assert!(check_files(0, 1).is_err());
        assert!(check_files(128, 1).is_err());
        assert_eq!(check_files(129, 1), Ok(()));
        assert_eq!(check_files(1024, 64), Ok(()));
        assert!(check_files(576, 64).is_err());
        assert!(check_files(1024, 128).is_err());
        let text = check_files(20, 2).expect_err("too few").to_string();
        assert!(text.contains("only 20 open files"), "{text}");
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let (limit, _) = raise_file_limit(2);
        let (soft, hard) = Resource::NOFILE.get().expect("limits");
        assert_eq!(soft, hard);
        assert_eq!(limit, soft);
    }
}

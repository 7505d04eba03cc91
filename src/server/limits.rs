//! The file limit: each socket is a file, and the default of 1,024 is far too low for this server.

use rlimit::Resource;

/// Files kept back for everything that isn't a client's socket: the log, the listener, epoll, HTTP connections.
const RESERVED_FILES: u64 = 128;

/// Below this many files a warning is due.
const FILES_WANTED: u64 = 10_000;

/// Raises the soft file limit to the hard one; returns what is in force. A sentence to log comes along when that is low.
pub fn raise_file_limit() -> (u64, Option<String>) {
    let limit = rlimit::increase_nofile_limit(u64::MAX)
        .or_else(|_| Resource::NOFILE.get_soft())
        .unwrap_or(1024);
    let warning = (limit < FILES_WANTED).then(|| {
        format!(
            "only {limit} open files are allowed, so at most {} connections: raise the hard limit (LimitNOFILE= in systemd, minfds in supervisord, --ulimit nofile= in Docker, `ulimit -Hn`)",
            limit.saturating_sub(RESERVED_FILES)
        )
    });
    (limit, warning)
}

/// Connections this node takes: what is set, and never more than the file limit allows.
pub fn connections_max(set: Option<usize>, files_max: u64) -> usize {
    let by_files = usize::try_from(files_max.saturating_sub(RESERVED_FILES)).unwrap_or(usize::MAX);
    set.unwrap_or(usize::MAX).min(by_files.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_by_setting_and_files() {
        assert_eq!(connections_max(None, 1024), 896);
        assert_eq!(connections_max(Some(100), 1024), 100);
        assert_eq!(connections_max(Some(5000), 1024), 896);
        assert_eq!(connections_max(None, 10), 1);
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let (limit, _) = raise_file_limit();
        let (soft, hard) = Resource::NOFILE.get().expect("limits");
        assert_eq!(soft, hard);
        assert_eq!(limit, soft);
    }
}

//! The memory of the binary, as Linux counts it.
#![cfg(target_os = "linux")]

use std::fs;

// what only others need
#[allow(dead_code)]
mod binary;
use binary::Running;

/// More than twice what is in use: not more than that with huge pages.
const ANONYMOUS_KIB_MAX: u64 = 16 * 1024;

#[test]
fn little_memory_is_in_use_before_the_first_client() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["--host", "127.0.0.1", "--port", "0"];
    let server = Running::start(folder.path(), &arguments, &[]);
    let status = fs::read_to_string(format!("/proc/{}/status", server.id()));
    let status = status.expect("a running server");
    let number = |name: &str| -> Option<u64> {
        let text = status.lines().find_map(|line| line.strip_prefix(name))?;
        text.trim().trim_end_matches(" kB").parse().ok()
    };
    let anonymous = number("RssAnon:").expect("a number");
    assert!(anonymous < ANONYMOUS_KIB_MAX, "{anonymous} KiB");
    // kernels before 5.0 don't say
    assert_ne!(number("THP_enabled:"), Some(1), "huge pages");
}

//! What processes and threads use of the machine, as `/proc` says it. On systems without it there are no such figures.
use std::{fs, ops::Sub, time::Duration};

/// Processor time and memory of some processes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// user and system, since they began
    pub cpu: Duration,
    /// resident
    pub rss_bytes: u64,
}

impl Usage {
    /// `None` if one of them can't be read.
    pub fn of(pids: &[u32]) -> Option<Usage> {
        let mut sum = Usage::default();
        for pid in pids {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            sum.cpu += cpu(&stat)?;
            sum.rss_bytes += rss_bytes(&status)?;
        }
        (!pids.is_empty()).then_some(sum)
    }

    pub fn own() -> Option<Usage> {
        Usage::of(&[std::process::id()])
    }

    /// What was used between two looks, if both told something.
    pub fn between(earlier: Option<Usage>, later: Option<Usage>) -> Option<Usage> {
        Some(later? - earlier?)
    }
}

/// Processor time between two looks; memory is what it is at the later one.
impl Sub for Usage {
    type Output = Usage;

    fn sub(self, earlier: Usage) -> Usage {
        Usage {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            rss_bytes: self.rss_bytes,
        }
    }
}

/// Processor time of the calling thread since it began.
pub fn own_thread_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    cpu(&stat).unwrap_or_default()
}

/// Fields 14 and 15 of `stat`: what stands before the name's bracket may hold anything.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    // The kernel's USER_HZ is 100 everywhere.
    Some(Duration::from_millis(
        user.checked_add(system)?.checked_mul(10)?,
    ))
}

fn rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_proc() {
        let stat = "12 (a) b (c)) S 1 12 12 0 -1 4194560 3 0 0 0 250 150 0 0 20 0 4 0 100 9 9";
        assert_eq!(cpu(stat), Some(Duration::from_secs(4)));
        assert_eq!(cpu("12 (a) S 1"), None);
        assert_eq!(cpu(""), None);
        assert_eq!(rss_bytes("Name:\ta\nVmRSS:\t  1234 kB\n"), Some(1_263_616));
        assert_eq!(rss_bytes("Name:\ta\n"), None);
    }

    #[test]
    fn nobody_uses_nothing_known() {
        assert_eq!(Usage::of(&[]), None);
        assert_eq!(Usage::of(&[u32::MAX]), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_uses_memory() {
        assert!(Usage::own().is_some_and(|usage| usage.rss_bytes > 0));
    }
}

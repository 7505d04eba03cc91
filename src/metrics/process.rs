//! What the operating system says of this process. Outside Linux there is little to read: then it is left out.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

/// Ticks a second in which Linux tells processor time, on every processor that Resound runs on.
const TICKS_PER_S: f64 = 100.0;

/// Resident bytes of this process, bytes of the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    pub used_bytes: u64,
    pub total_bytes: u64,
}

impl Memory {
    /// `None` where there is no `/proc`.
    pub fn of_this_process() -> Option<Memory> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let machine = fs::read_to_string("/proc/meminfo").ok()?;
        Memory::parse(&status, &machine)
    }

    fn parse(status: &str, machine: &str) -> Option<Memory> {
        Some(Memory {
            used_bytes: bytes_of("VmRSS:", status)?,
            total_bytes: bytes_of("MemTotal:", machine).filter(|total| *total > 0)?,
        })
    }

    pub fn percent(self) -> f64 {
        self.used_bytes as f64 * 100.0 / self.total_bytes as f64
    }
}

/// The value of a `/proc` line like `VmRSS:    5120 kB`.
fn bytes_of(label: &str, lines: &str) -> Option<u64> {
    let line = lines.lines().find(|line| line.starts_with(label))?;
    let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Open files, sockets among them.
pub fn open_files() -> Option<u64> {
    const FILES: &str = "/proc/self/fd";
    // Newer kernels tell the number as the folder's size, which spares reading 100,000 entries.
    match fs::metadata(FILES).ok()?.len() {
        0 => Some(fs::read_dir(FILES).ok()?.count() as u64),
        count => Some(count),
    }
}

/// The soft limit on open files.
pub fn open_files_max() -> Option<u64> {
    rlimit::Resource::NOFILE.get_soft().ok()
}

/// Processor time used so far, in seconds.
pub fn cpu_s() -> Option<f64> {
    cpu_s_in(&fs::read_to_string("/proc/self/stat").ok()?)
}

fn cpu_s_in(stat: &str) -> Option<f64> {
    // The second field is the program's name, which may hold blanks and brackets.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user.saturating_add(system) as f64 / TICKS_PER_S)
}

/// Now, in Unix seconds.
pub fn now_s() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_or_left_out() {
        let status = "Name:\tresound\nVmRSS:\t    5120 kB\n";
        let machine = "MemTotal:       10240 kB\nMemFree: 1 kB\n";
        let memory = Memory::parse(status, machine).expect("memory");
        assert_eq!((memory.used_bytes, memory.percent()), (5_242_880, 50.0));
        for (status, machine) in [
            ("", machine),
            (status, ""),
            ("VmRSS:", machine),
            ("VmRSS: x kB", machine),
            ("VmRSS: 18446744073709551615 kB", machine),
            (status, "MemTotal: 0 kB"),
        ] {
            assert_eq!(Memory::parse(status, machine), None);
        }
    }

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert_eq!(cpu_s_in(stat), Some(2.0));
        for stat in ["", "7 (a) S", "7 (a) S 1 2 3 4 5 6 7 8 9 10 x 50"] {
            assert_eq!(cpu_s_in(stat), None);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_all_of_it() {
        assert!(Memory::of_this_process().is_some_and(|memory| memory.used_bytes > 0));
        assert!(open_files().is_some_and(|count| count > 2));
        assert!(open_files_max().is_some());
        assert!(cpu_s().is_some());
    }
}

//! Where a process is, as `/proc` says.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use super::cgroup_id::{self, GroupId};

/// The inode of the initial process namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const INITIAL: &str = "pid:[4026531836]";

/// Where a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProcessPlace {
    Container(GroupId),
    Host,
}

/// Whether the ids that the kernel logs are those in `/proc`.
pub(super) fn is_initial_namespace() -> bool {
    static INITIAL_NAMESPACE: OnceLock<bool> = OnceLock::new();
    *INITIAL_NAMESPACE.get_or_init(|| {
        let own = fs::read_link("/proc/self/ns/pid");
        own.is_ok_and(|own| own.as_os_str() == INITIAL)
    })
}

/// Where the process is that had this id at some time; `None` if it has ended.
pub(super) fn place(
    pid: u32,
    time: SystemTime,
    known: impl Fn(&str) -> bool,
) -> Option<ProcessPlace> {
    let started = started(pid)?;
    if started > since(ClockId::Boottime, time)? {
        return None;
    }
    let text = cgroup(pid)?;
    // The id may have been reused between the two.
    if self::started(pid)? != started {
        return None;
    }
    Some(match cgroup_id::of(&text, known) {
        Some(group) => ProcessPlace::Container(group),
        None => ProcessPlace::Host,
    })
}

/// The container that a process is in now.
pub(super) fn group(pid: u32, known: impl Fn(&str) -> bool) -> Option<GroupId> {
    cgroup_id::of(&cgroup(pid)?, known)
}

/// The ids of all processes.
pub(super) fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.collect()
}

/// A time of day as the kernel's monotonic clock, in nanoseconds.
pub(super) fn monotonic(time: SystemTime) -> Option<u64> {
    let since = since(ClockId::Monotonic, time)?;
    u64::try_from(since.as_nanos()).ok()
}

fn cgroup(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()
}

/// How long after boot a process was forked. /proc/PID/stat says it in hundredths of a second (proc(5)).
fn started(pid: u32) -> Option<Duration> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let (_, rest) = text.rsplit_once(") ")?;
    let ticks: u64 = rest.split_ascii_whitespace().nth(19)?.parse().ok()?;
    ticks.checked_mul(10).map(Duration::from_millis)
}

/// How long a time of day is after the beginning of a clock.
fn since(clock: ClockId, time: SystemTime) -> Option<Duration> {
    let now = clock_gettime(clock);
    let now = Duration::new(now.tv_sec.try_into().ok()?, now.tv_nsec.try_into().ok()?);
    match SystemTime::now().duration_since(time) {
        Ok(ago) => now.checked_sub(ago),
        Err(ahead) => now.checked_add(ahead.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_was_forked_before_now_and_not_before_boot() {
        let pid = std::process::id();
        let now = SystemTime::now();
        let age = since(ClockId::Boottime, now).unwrap() - started(pid).unwrap();
        assert!(place(pid, now, |_| false).is_some());
        // An event from before is not of this process.
        let before = now - age - Duration::from_secs(1);
        assert_eq!(place(pid, before, |_| true), None);
        assert_eq!(place(u32::MAX, now, |_| true), None);
        assert!(all().contains(&pid));
        assert!(monotonic(now).unwrap() > monotonic(before).unwrap());
    }
}

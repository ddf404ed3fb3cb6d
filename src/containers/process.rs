//! One process: held on to by a pidfd, so that what is read and killed is that process and not a
//! later one with its id; and what `/proc` says of it.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::error::{Error, Kind, Result, reason};

/// `PF_FORKNOEXEC` (include/linux/sched.h): forked, and has not executed anything since. `ps -F`
/// shows it too, so its number does not change.
const FORKED_ONLY: u32 = 0x40;

/// A process that was there when this was made.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    handle: OwnedFd,
}

impl Process {
    /// Holds on to a process; `None` where there is none.
    ///
    /// # Errors
    /// Where it cannot be held on to: what cannot be looked at is not taken for ended.
    pub(crate) fn of(pid: u32) -> Result<Option<Self>> {
        let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            let why = format!("{pid} is no process id");
            return Err(Error::new(Kind::Internal, why));
        };
        let process = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(handle) => Self { pid, handle },
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(e) => {
                let why = format!("cannot look at process {pid}: {}", reason(&e.into()));
                return Err(Error::new(Kind::Internal, why));
            }
        };
        Ok((!process.has_ended()).then_some(process))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Its directory in `/proc`; after its end maybe another's.
    pub(crate) fn directory(&self) -> PathBuf {
        Path::new("/proc").join(self.pid.to_string())
    }

    /// Whether it is gone, or only its parent has not noticed yet. Until then its id is its own.
    pub(crate) fn has_ended(&self) -> bool {
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(&self.handle, PollFlags::IN)];
        poll(&mut fds, Some(&at_once)).is_ok_and(|n| n > 0)
    }

    /// Kills this process alone; whether it was there to be killed.
    pub(crate) fn kill(&self) -> bool {
        pidfd_send_signal(&self.handle, Signal::KILL).is_ok()
    }
}

/// What `/proc/PID/stat` says (proc(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    state: char,
    flags: u32,
    /// How long it was on a processor, in clock ticks.
    ticks: u64,
    threads: u64,
    started: u64,
}

impl Stat {
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is no such process any more.
    pub(crate) fn read(process: &Path) -> io::Result<Self> {
        let text = read(&process.join("stat"))?;
        Self::parse(&text).ok_or_else(|| io::Error::other("it is not what proc(5) says"))
    }

    fn parse(text: &str) -> Option<Self> {
        // The name can hold anything, brackets and spaces included.
        let (_, rest) = text.rsplit_once(") ")?;
        let mut fields = rest.split_ascii_whitespace();
        // Numbered from 1 in proc(5); the state is the third.
        let state = fields.next()?.chars().next()?;
        let flags = fields.nth(5)?.parse().ok()?;
        let user: u64 = fields.nth(4)?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        let threads = fields.nth(4)?.parse().ok()?;
        let started = fields.nth(1)?.parse().ok()?;
        Some(Self {
            state,
            flags,
            ticks: user.saturating_add(system),
            threads,
            started,
        })
    }

    /// When it was started, in clock ticks since the boot.
    pub(crate) fn started(self) -> u64 {
        self.started
    }

    /// Whether it still executes what its parent did.
    pub(crate) fn has_executed_nothing(self) -> bool {
        self.flags & FORKED_ONLY != 0
    }

    /// Whether none of its threads can run any more. A first thread that has ended while others
    /// live on looks like a zombie, too.
    pub(crate) fn is_over(self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x') && self.threads <= 1
    }

    /// Whether it wants a processor, or waits within a system call that cannot be interrupted.
    pub(crate) fn is_at_work(self) -> bool {
        matches!(self.state, 'R' | 'D')
    }

    /// How long it was on a processor, in nanoseconds; in whole ticks where the kernel does not
    /// tell more exactly (CONFIG_SCHED_INFO).
    pub(crate) fn on_processor(self, process: &Path) -> u64 {
        let text = read(&process.join("schedstat")).unwrap_or_default();
        let exact = text.split_ascii_whitespace().next();
        exact.and_then(|n| n.parse().ok()).unwrap_or_else(|| {
            // USER_HZ is 100 on every architecture but alpha and ia64.
            self.ticks.saturating_mul(10_000_000)
        })
    }
}

/// Reads a file of `/proc`, of a process that may end meanwhile.
///
/// # Errors
/// [`ErrorKind::NotFound`] where the process has ended.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(ended)
}

/// A file of a process that ended after it was opened says ESRCH.
pub(crate) fn ended(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ESRCH) => ErrorKind::NotFound.into(),
        _ => error,
    }
}

/// The directories of all processes of this machine.
///
/// # Errors
/// Where `/proc` cannot be read to its end.
pub(crate) fn everything() -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        if id(&path).is_some() {
            found.push(path);
        }
    }
    Ok(found)
}

/// The id of the process of such a directory.
pub(crate) fn id(process: &Path) -> Option<u32> {
    process.file_name()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read_behind_any_name() {
        let line = "212 (a) R 9 (b) S 1 212 212 0 -1 4194624 41 0 0 0 3 4 0 0 20 0 2 0 833 6717440";
        let stat = Stat::parse(line).unwrap();
        let expected = Stat {
            state: 'S',
            flags: 4_194_624,
            ticks: 7,
            threads: 2,
            started: 833,
        };
        assert_eq!(stat, expected);
        assert!(stat.has_executed_nothing() && !stat.is_at_work() && !stat.is_over());
        for text in [
            "",
            "1 (a) S",
            "1 a S 1 2 3",
            "1 (a) S 1 2 3 4 5 x 1 1 1 1 1 1",
        ] {
            assert_eq!(Stat::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_zombie_is_over_unless_other_threads_live_on() {
        let of = |state, threads| Stat {
            state,
            flags: 0,
            ticks: 0,
            threads,
            started: 0,
        };
        assert!(of('Z', 1).is_over() && of('X', 0).is_over());
        assert!(!of('Z', 2).is_over() && !of('S', 1).is_over());
    }

    #[test]
    fn this_process_is_there_and_has_executed_something() {
        let process = Process::of(std::process::id()).unwrap().unwrap();
        assert!(!process.has_ended());
        let stat = Stat::read(&process.directory()).unwrap();
        assert!(!stat.has_executed_nothing() && !stat.is_over());
        assert!(stat.on_processor(&process.directory()) > 0);
        assert!(everything().unwrap().contains(&process.directory()));
        let none = Stat::read(Path::new("/proc/0")).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::NotFound);
    }
}

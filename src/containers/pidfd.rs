//! A process behind a pidfd: what is read and killed is that process, not a later one with its id.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_apparmor_entry::process_id;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use crate::error::{Error, Kind, Result, reason};

/// A process that existed when this was opened (pidfd_open(2)).
#[derive(Debug)]
pub(crate) struct PidFd {
    pid: u32,
    descriptor: OwnedFd,
}

impl PidFd {
    /// Opens a process; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be opened. That is not the same as a process that has ended.
    pub(crate) fn open(pid: u32) -> Result<Option<Self>> {
        let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            let why = format!("{pid} is not a process id");
            return Err(Error::new(Kind::Internal, why));
        };
        let process = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(descriptor) => Self { pid, descriptor },
            Err(Errno::SRCH) => return Ok(None),
            Err(e) => {
                let why = format!("cannot open process {pid}: {}", reason(&e.into()));
                return Err(Error::new(Kind::Internal, why));
            }
        };
        Ok((!process.has_ended()).then_some(process))
    }

    /// Opens this process.
    ///
    /// # Errors
    /// Those of pidfd_open(2).
    pub(crate) fn of_this_process() -> io::Result<Self> {
        Ok(Self {
            pid: process_id::own(),
            descriptor: pidfd_open(getpid(), PidfdFlags::empty())?,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Its directory in `/proc`. Once the process has ended, it may be another process's.
    pub(crate) fn directory(&self) -> PathBuf {
        Path::new("/proc").join(self.pid.to_string())
    }

    /// Whether it has ended, reaped or not. Until this is true, its id is not reused.
    pub(crate) fn has_ended(&self) -> bool {
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(&self.descriptor, PollFlags::IN)];
        poll(&mut fds, Some(&at_once)).is_ok_and(|n| n > 0)
    }

    /// Waits until it has ended, `limit` has passed or `event` can be read; whether it has ended. If
    /// the kernel cannot wait for it, it counts as ended.
    pub(crate) fn ends_within(
        &self,
        limit: Option<Duration>,
        event: Option<BorrowedFd<'_>>,
    ) -> bool {
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let own = self.descriptor.as_fd();
        let mut fds =
            [own, event.unwrap_or(own)].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        loop {
            match poll(&mut fds, limit.as_ref()) {
                Err(Errno::INTR) => {}
                Err(_) => return true,
                Ok(_) => return fds.first().is_some_and(|own| !own.revents().is_empty()),
            }
        }
    }

    /// Kills this process only; whether the signal could be sent.
    pub(crate) fn kill(&self) -> bool {
        pidfd_send_signal(&self.descriptor, Signal::KILL).is_ok()
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_open_until_it_ends() {
        let process = PidFd::open(std::process::id()).unwrap().unwrap();
        assert!(!process.has_ended());
        assert!(process.directory().join("stat").exists());
        assert!(PidFd::open(u32::MAX).is_err());
    }

    #[test]
    fn an_end_an_event_and_the_time_limit_end_a_wait() {
        let own = PidFd::of_this_process().unwrap();
        let soon = Some(Duration::from_millis(10));
        assert!(!own.ends_within(soon, None));
        let (read, write) = io::pipe().unwrap();
        drop(write);
        assert!(!own.ends_within(None, Some(read.as_fd())));
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let process = PidFd::open(child.id()).unwrap().unwrap();
        assert!(!process.ends_within(soon, None));
        drop(child.stdin.take());
        assert!(process.ends_within(None, None));
        assert!(process.has_ended());
        child.wait().unwrap();
    }
}

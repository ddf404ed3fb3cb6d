//! A process behind a pidfd: what is read and killed is that process, not a later one with its id.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

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
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(e) => {
                let why = format!("cannot open process {pid}: {}", reason(&e.into()));
                return Err(Error::new(Kind::Internal, why));
            }
        };
        Ok((!process.has_ended()).then_some(process))
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

    /// Kills this process only; whether the signal could be sent.
    pub(crate) fn kill(&self) -> bool {
        pidfd_send_signal(&self.descriptor, Signal::KILL).is_ok()
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
}

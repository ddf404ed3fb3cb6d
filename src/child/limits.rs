//! What a child process may use.

use std::fmt;
use std::io;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

/// How many bytes a child may write to one file; compiled policy has less than 2 MiB.
pub(super) const MAX_OUTPUT: u64 = 32 << 20;

/// The limits of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long the run may take, and how much processor time it may use.
    pub time: Duration,
    /// The size of its address space, in bytes.
    pub memory: u64,
}

/// A limit that a run exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Elapsed time, in seconds.
    Time(u64),
    /// Processor time, in seconds.
    ProcessorTime(u64),
    /// Address space, in MiB.
    Memory(u64),
    /// Output, in MiB.
    Output(u64),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(limit) => write!(f, "it did not finish within {limit} s"),
            Self::ProcessorTime(limit) => {
                write!(f, "it used more than {limit} s of processor time")
            }
            Self::Memory(limit) => write!(f, "it needed more than {limit} MiB of memory"),
            Self::Output(limit) => write!(f, "it wrote more than {limit} MiB"),
        }
    }
}

impl Limits {
    pub(super) fn time_limit(self) -> Limit {
        Limit::Time(whole_seconds(self.time))
    }

    pub(super) fn processor_time_limit(self) -> Limit {
        Limit::ProcessorTime(whole_seconds(self.time))
    }

    pub(super) fn memory_limit(self) -> Limit {
        Limit::Memory(self.memory >> 20)
    }

    pub(super) fn output_limit() -> Limit {
        Limit::Output(MAX_OUTPUT >> 20)
    }

    /// Sets the limits that the kernel enforces on a running child.
    ///
    /// They are set after the start, because unsafe code would be needed to call anything between
    /// fork and exec. Until then the program is only being loaded.
    pub(super) fn apply(self, child: &Child) -> io::Result<()> {
        let pid = Some(Pid::from_child(child));
        let seconds = whole_seconds(self.time);
        for (resource, soft, hard) in [
            // SIGXCPU at the soft limit, SIGKILL at the hard one.
            (Resource::Cpu, seconds, seconds.saturating_add(1)),
            (Resource::As, self.memory, self.memory),
            // Also holds for memory files (generic_write_check_limits(), fs/read_write.c).
            (Resource::Fsize, MAX_OUTPUT, MAX_OUTPUT),
            // A core dump would contain the text of the profile.
            (Resource::Core, 0, 0),
        ] {
            // The child inherited our limits; raising one needs a capability.
            let ours = getrlimit(resource);
            let limit = Rlimit {
                current: Some(ours.current.map_or(soft, |l| l.min(soft))),
                maximum: Some(ours.maximum.map_or(hard, |l| l.min(hard))),
            };
            match prlimit(pid, resource, limit) {
                Ok(_) => {}
                // The child has ended, and the kernel reaped it because the engine that started
                // us ignores SIGCHLD.
                Err(rustix::io::Errno::SRCH) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

/// `time` in seconds, rounded up; at least one.
fn whole_seconds(time: Duration) -> u64 {
    let part = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(part).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_never_zero() {
        for (time, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(time)), seconds);
        }
    }
}

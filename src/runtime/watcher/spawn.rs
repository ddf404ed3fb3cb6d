//! Starts a watcher.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, Read};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use oci_apparmor_entry::fork;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::containers::pidfd::PidFd;
use crate::error::{Error, Kind, Result, reason};
use crate::runtime::restored::RestoredContainer;
use crate::runtime::verify::ContainerProcess;
use crate::runtime::watcher::runtime_process::RuntimeCall;
use crate::runtime::watcher::watch::{READY, Watched, WatchedCall, Watcher};

/// How long a watcher may take to be ready, in seconds. A busy node needs some.
const READY_LIMIT: i64 = 30;

/// A watcher that goes on if this process is killed.
#[derive(Debug)]
pub(crate) struct WatcherChild(Pid);

impl WatcherChild {
    /// Ends it: this process has finished its work.
    pub(crate) fn dismiss(self) {
        end(self.0);
    }
}

impl WatchedCall<'_> {
    /// Starts a watcher of this process, which will become the runtime (`run`). It is not a child of
    /// this process, since the runtime does not expect one.
    ///
    /// # Errors
    /// If no watcher can be started. Nothing may run then.
    pub(crate) fn watch_runtime(self) -> Result<()> {
        let watched = Watched::Run;
        start(self, watched, |watcher| {
            fork::child(|| u8::from(fork::child(watcher).is_err()))
        })
        .map(reap)
    }

    /// Starts a watcher of this process, which will call the runtime with `words` to start a container,
    /// and wait for it.
    ///
    /// # Errors
    /// If no watcher can be started. Nothing may be started then.
    pub(crate) fn watch_start(
        self,
        words: &[OsString],
        process: &ContainerProcess,
    ) -> Result<WatcherChild> {
        let watched = Watched::Start {
            call: RuntimeCall::by_this_process(words),
            process,
        };
        start(self, watched, fork::child).map(WatcherChild)
    }

    /// Starts a watcher of this process, which will call the runtime with `words` to restore a
    /// container, and wait for it.
    ///
    /// # Errors
    /// If no watcher can be started. Nothing may be restored then.
    pub(crate) fn watch_restore(
        self,
        words: &[OsString],
        container: &RestoredContainer<'_>,
    ) -> Result<WatcherChild> {
        let watched = Watched::Restore {
            call: RuntimeCall::by_this_process(words),
            container,
        };
        start(self, watched, fork::child).map(WatcherChild)
    }
}

/// Starts a watcher with `fork`, and waits until it is ready. Returns the child of this process that
/// `fork` has made.
fn start<'w>(
    call: WatchedCall<'w>,
    watched: Watched<'w>,
    fork: impl FnOnce(Box<dyn FnOnce() -> u8 + 'w>) -> io::Result<i32>,
) -> Result<Pid> {
    let failed = |why: &str| Error::new(Kind::Internal, format!("cannot start the watcher: {why}"));
    let io = |e: &io::Error| failed(&reason(e));
    let (answer, ready) = io::pipe().map_err(|e| io(&e))?;
    let mut null = File::options();
    let null = null.read(true).write(true);
    let null = null.open("/dev/null").map_err(|e| io(&e))?;
    let watcher = Watcher {
        call,
        watched,
        wrapper: PidFd::of_this_process().map_err(|e| io(&e))?,
    };
    // In this process, what the watcher owns is dropped when it is forked.
    let child = fork(Box::new(move || watcher.main(null, ready))).map_err(|e| io(&e))?;
    let child = Pid::from_raw(child);
    if reports_ready(answer) {
        return Ok(child);
    }
    end(child);
    Err(failed("it did not report that it is ready"))
}

/// Waits for the answer of a watcher: one write, or a closed pipe if it failed.
fn reports_ready(mut answer: PipeReader) -> bool {
    let limit = Timespec {
        tv_sec: READY_LIMIT,
        tv_nsec: 0,
    };
    loop {
        match poll(&mut [PollFd::new(&answer, PollFlags::IN)], Some(&limit)) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(0) | Err(_) => return false,
            Ok(_) => break,
        }
    }
    let mut told = [0; READY.len()];
    answer.read_exact(&mut told).is_ok() && told == *READY
}

/// Kills a child and reaps it.
fn end(child: Pid) {
    if kill(child, Signal::SIGKILL).is_ok() {
        reap(child);
    }
}

/// Waits until a child has ended. If SIGCHLD is ignored, the kernel reaps it.
fn reap(child: Pid) {
    while waitpid(child, None) == Err(Errno::EINTR) {}
}

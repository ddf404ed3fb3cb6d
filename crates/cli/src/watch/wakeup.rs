//! Why the watch wakes up, and the signals that are one reason.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use oci_apparmor::error::{Error, Kind, Result};

/// Why the watch wakes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wakeup {
    /// A signal asks to end.
    End,
    /// Files have changed, or a signal asks to check everything.
    Files,
    /// The kernel's policy has changed.
    Kernel,
    /// Nothing, in the time that was given.
    Nothing,
}

/// Signals, read when there is time for them.
pub(crate) struct Signals {
    pub(super) caught: SignalFd,
    /// A signal to end was seen; it comes only once.
    ended: Cell<bool>,
}

impl Signals {
    pub(crate) fn catch() -> Result<Self> {
        let failed = |e: Errno| Error::new(Kind::Internal, format!("cannot wait for signals: {e}"));
        let mask: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]
            .into_iter()
            .collect();
        mask.thread_block().map_err(failed)?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let caught = SignalFd::with_flags(&mask, flags).map_err(failed)?;
        let ended = Cell::new(false);
        Ok(Self { caught, ended })
    }

    /// What is readable when a signal was sent.
    pub(crate) fn descriptor(&self) -> Result<OwnedFd> {
        self.caught
            .as_fd()
            .try_clone_to_owned()
            .map_err(|e| Error::new(Kind::Internal, format!("cannot wait for signals: {e}")))
    }

    /// Whether any signal was sent: each of them ends what has nothing to read anew.
    pub(crate) fn any(&self) -> bool {
        self.next() != Wakeup::Nothing
    }

    /// The next signal that was sent.
    pub(crate) fn next(&self) -> Wakeup {
        match self.caught.read_signal() {
            _ if self.ended.get() => Wakeup::End,
            Ok(Some(signal)) if signal.ssi_signo == Signal::SIGHUP as u32 => Wakeup::Files,
            Ok(Some(_)) => {
                self.ended.set(true);
                Wakeup::End
            }
            Ok(None) | Err(_) => Wakeup::Nothing,
        }
    }

    /// Whether to end now. A SIGHUP is ignored here: everything is being checked already.
    pub(crate) fn ends(&self) -> bool {
        self.next() == Wakeup::End
    }
}

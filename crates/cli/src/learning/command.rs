//! The command that runs while a profile is learnt: as a shell would run it, with our signals.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use oci_apparmor::error::{Error, Kind, Result};

/// The signals that end a program unless it handles them, and that are sent by people.
const SIGNALS: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

/// ForwardedSignals to this process, which do not end it any more.
#[derive(Debug)]
pub(crate) struct ForwardedSignals {
    caught: SignalFd,
    before: SigSet,
}

impl ForwardedSignals {
    /// Catches them from now on. Children of this process inherit that, except for
    /// [`RunningCommand`].
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn catch() -> Result<Self> {
        let failed = |e: Errno| Error::new(Kind::Internal, format!("cannot wait for signals: {e}"));
        let before = SigSet::thread_get_mask().map_err(failed)?;
        let mask: SigSet = SIGNALS.into_iter().collect();
        mask.thread_block().map_err(failed)?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let caught = SignalFd::with_flags(&mask, flags).map_err(failed)?;
        Ok(Self { caught, before })
    }

    /// Whether a signal has come.
    pub(crate) fn any(&self) -> bool {
        matches!(self.caught.read_signal(), Ok(Some(_)))
    }
}

/// A command that runs.
#[derive(Debug)]
pub(crate) struct RunningCommand<'s> {
    child: Child,
    signals: &'s ForwardedSignals,
}

impl<'s> RunningCommand<'s> {
    /// Starts it, with the standard input, output and error of this process.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no such program.
    pub(crate) fn start(words: &[OsString], signals: &'s ForwardedSignals) -> Result<Self> {
        let (program, arguments) = words.split_first().ok_or_else(|| {
            Error::new(Kind::Usage, "there is no command to run")
                .with_remedy("run: oci-apparmor learn NAME -- COMMAND")
        })?;
        // A child has the mask of its parent (std::process). In between, a signal ends this process,
        // and its guard restores.
        let mask = SigSet::thread_get_mask();
        let _ = signals.before.thread_set_mask();
        let started = Command::new(program).args(arguments).spawn();
        let _ = mask.and_then(|mask| mask.thread_set_mask());
        let child = started.map_err(|e| {
            let kind = match e.kind() {
                io::ErrorKind::NotFound => Kind::NotFound,
                _ => Kind::Internal,
            };
            Error::io("run", Path::new(program), &e)
                .of(kind)
                .with_remedy("name a program after --")
        })?;
        Ok(Self { child, signals })
    }

    /// Passes on the signals that came meanwhile. Returns how the command ended, once it has.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub(crate) fn look(&mut self) -> Result<Option<ExitStatus>> {
        let pid = i32::try_from(self.child.id()).unwrap_or_default();
        while let Ok(Some(signal)) = self.signals.caught.read_signal() {
            // The terminal has sent it to the command too.
            if signal.ssi_code == libc::SI_KERNEL {
                continue;
            }
            let number = i32::try_from(signal.ssi_signo).unwrap_or_default();
            if let Ok(signal) = Signal::try_from(number)
                && pid > 0
            {
                let _ = kill(Pid::from_raw(pid), signal);
            }
        }
        let ended = self.child.try_wait();
        ended.map_err(|e| Error::new(Kind::Internal, format!("cannot wait for the command: {e}")))
    }
}

/// The exit code of a command as a shell reports it.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => signal.saturating_add(128),
        (None, None) => 1,
    };
    u8::try_from(code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        for (raw, code) in [(0, 0), (3 << 8, 3), (9, 137), (15 | 0x80, 143)] {
            assert_eq!(exit_code(ExitStatus::from_raw(raw)), code);
        }
    }
}

//! Calls the low-level runtime: as the same process, or as a child.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus};

use crate::error::{Error, Kind, Result, reason};
use crate::runtime::locate::RuntimeProgram;

/// The command that calls the runtime with these words.
///
/// crun chooses a handler (krun, wasm) by the name that it is called by, so it is called by its
/// usual name.
pub(super) fn command(runtime: &RuntimeProgram, words: &[OsString]) -> Command {
    let named = runtime.program.file_name() == Some(OsStr::new(runtime.kind.name()));
    let argv0 = if named {
        runtime.program.as_path()
    } else {
        Path::new(runtime.kind.name())
    };
    let mut command = Command::new(&runtime.program);
    command.arg0(argv0).args(words);
    command
}

/// The exit code of a runtime that was run as a child; 128 and the number for a signal, as in a
/// shell.
///
/// An engine may ignore SIGCHLD. The kernel then reaps the child, its exit code is lost, and
/// `failed` decides.
pub(super) fn exit_code(
    status: std::io::Result<ExitStatus>,
    program: &Path,
    failed: impl Fn() -> bool,
) -> Result<u8> {
    let code = match status {
        Ok(status) => status
            .code()
            .or(status.signal().map(|s| s.saturating_add(128))),
        Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Some(i32::from(failed())),
        Err(e) => return Err(Error::io("run", program, &e)),
    };
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Becomes the runtime with execve(2). Returns only if that fails.
///
/// It is called where files and locks are still open: execve(2) closes all of them, without a system
/// call for each.
pub(super) fn exec(runtime: &RuntimeProgram, words: &[OsString]) -> Error {
    // The standard library ignores SIGPIPE at the start of a program and resets it here. A plain
    // execve(2) would leave it ignored in the container.
    let error = command(runtime, words).exec();
    let program = runtime.program.display();
    let why = format!("cannot execute {program}: {}", reason(&error));
    Error::new(Kind::Internal, why).caused_by(&error)
}

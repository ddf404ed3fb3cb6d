//! `delete`: a record goes when its container is gone, and not before.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;

use crate::error::{Error, Result};
use crate::report;
use crate::runtime::argv::Line;
use crate::runtime::locate::Located;
use crate::runtime::record::{self, Place};
use crate::runtime::{Next, command, roots};

pub(super) fn carry_out(runtime: &Located, line: &Line, words: &[OsString]) -> Result<Next> {
    let root = roots::root(runtime.kind, line.global("root"));
    let place = Place {
        root: &root,
        id: &line.id,
    };
    if record::read(place)?.is_none() {
        return Ok(Next::HandOn);
    }
    let gone = || root.join(&line.id).symlink_metadata().is_err();
    let code = match command(runtime, words).status() {
        // A shell's convention for a signal.
        Ok(status) => status
            .code()
            .or(status.signal().map(|s| s.saturating_add(128)))
            .unwrap_or(1),
        // An engine that ignores SIGCHLD lets the kernel reap: only the outcome can be judged.
        Err(e) if e.raw_os_error() == Some(libc::ECHILD) => i32::from(!gone()),
        Err(e) => return Err(Error::io("run", &runtime.program, &e)),
    };
    if gone()
        && let Err(e) = record::remove(place)
    {
        report::notice(&e.to_string());
    }
    Ok(Next::Done(u8::try_from(code).unwrap_or(1)))
}

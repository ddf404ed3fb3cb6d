//! `restore`: CRIU only rewrites a label that was dumped. An image that was dumped unconfined is
//! restored unconfined whatever `--lsm-profile` says (`criu/cr-restore.c`), so every thread is
//! looked at before the engine hears of success.

use std::ffi::OsStr;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::runtime::argv::Line;
use crate::runtime::locate::Located;
use crate::runtime::record::{self, Place, Record};
use crate::runtime::{Next, command, exit_code, labels, verify};

/// Refuses what cannot be verified, before anything is changed.
pub(super) fn can_be_verified(line: &Line) -> Result<()> {
    if line.has("detach") && line.option("pid-file").is_some() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Policy,
        "the labels of a restored container can only be verified with --detach and --pid-file",
    )
    .hint("add both"))
}

/// Restores the container, and kills it again if any thread of it lacks the label.
pub(super) fn carry_out(runtime: &Located, line: &Line, record: &Record) -> Result<Next> {
    let place = Place {
        root: &record.root,
        id: &record.id,
    };
    let status = command(runtime, &line.words()).status();
    let code = exit_code(status, &runtime.program, || {
        !record.root.join(&record.id).exists()
    })?;
    if code != 0 {
        record::remove(place)?;
        return Ok(Next::Done(code));
    }
    let pid_file = line.option("pid-file").unwrap_or(OsStr::new(""));
    let Err(why) =
        verify::first_process(Path::new(pid_file)).and_then(|pid| labels::all_hold(pid, record))
    else {
        return Ok(Next::Done(0));
    };
    let pid = verify::first_process(Path::new(pid_file)).ok();
    verify::put_down(runtime, &line.deletion(), pid, record)?;
    Err(why.hint("it was killed; start a new container instead of restoring this one"))
}

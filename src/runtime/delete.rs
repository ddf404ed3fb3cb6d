//! `delete`: a record goes when its container is gone, and not before.

use std::ffi::OsString;

use crate::error::Result;
use crate::report;
use crate::runtime::argv::Line;
use crate::runtime::locate::Located;
use crate::runtime::record::{self, Place};
use crate::runtime::{Next, command, exit_code, roots};

pub(super) fn carry_out(runtime: &Located, line: &Line, words: &[OsString]) -> Result<Next> {
    let root = roots::root(runtime.kind, line.global("root"));
    let place = Place {
        root: &root,
        id: &line.id,
    };
    let Some(record) = record::read(place)? else {
        return Ok(Next::HandOn);
    };
    let gone = || root.join(&line.id).symlink_metadata().is_err();
    let code = exit_code(command(runtime, words).status(), &runtime.program, || {
        !gone()
    })?;
    if gone()
        && let Err(e) = record::forget(&record)
    {
        report::notice(&e.to_string());
    }
    Ok(Next::Done(code))
}

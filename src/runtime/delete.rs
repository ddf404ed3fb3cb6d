//! `delete`: a record goes when its container is gone, and not before.

use std::ffi::OsString;

use crate::containers::record::{self, Place};
use crate::containers::{pods, runtime_state};
use crate::error::Result;
use crate::report;
use crate::runtime::argv::Line;
use crate::runtime::locate::Located;
use crate::runtime::{Next, command, exit_code};

pub(super) fn carry_out(runtime: &Located, line: &Line, words: &[OsString]) -> Result<Next> {
    let root = runtime_state::root(runtime.kind, line.global("root"));
    let place = Place {
        root: &root,
        id: &line.id,
    };
    let known = record::read(place);
    if known.is_none() && !record::is_there(place) {
        return Ok(Next::HandOn);
    }
    let gone = || root.join(&line.id).symlink_metadata().is_err();
    let code = exit_code(command(runtime, words).status(), &runtime.program, || {
        !gone()
    })?;
    if gone() {
        let forgotten = match &known {
            Some(own) => {
                pods::outlives(own);
                record::forget(own)
            }
            // One that cannot be read.
            None => record::remove(place),
        };
        if let Err(e) = forgotten {
            report::notice(&e.to_string());
        }
    }
    Ok(Next::Done(code))
}

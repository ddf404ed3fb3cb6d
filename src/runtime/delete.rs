//! `delete`: removes the record of a container once the container is gone.

use std::ffi::OsString;

use crate::containers::record::ContainerKey;
use crate::containers::{pods, records, runtime_state};
use crate::error::Result;
use crate::report;
use crate::runtime::argv::RuntimeCommand;
use crate::runtime::handoff;
use crate::runtime::locate::RuntimeProgram;

pub(super) fn carry_out(
    runtime: &RuntimeProgram,
    line: &RuntimeCommand,
    words: &[OsString],
) -> Result<u8> {
    let root = runtime_state::root(runtime.kind, line.global("root"));
    let key = ContainerKey {
        root: &root,
        id: &line.id,
    };
    let record = records::read(key);
    if record.is_none() && !records::exists(key) {
        return Err(handoff::exec(runtime, words));
    }
    let is_gone = || key.state_directory().symlink_metadata().is_err();
    let status = handoff::command(runtime, words).status();
    let code = handoff::exit_code(status, &runtime.program, || !is_gone())?;
    if is_gone() {
        let removed = match &record {
            Some(record) => {
                pods::container_deleted(record);
                records::forget(record)
            }
            // The record cannot be read.
            None => records::remove(key),
        };
        if let Err(e) = removed {
            report::notice(&e.to_string());
        }
    }
    Ok(code)
}

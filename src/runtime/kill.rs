//! Kills and deletes a container that runs without its label.

use std::ffi::OsString;
use std::io;
use std::process::Stdio;

use crate::containers::processes::ProcessSet;
use crate::containers::record::Record;
use crate::containers::{records, runtime_state};
use crate::report;
use crate::runtime::handoff;
use crate::runtime::locate::RuntimeProgram;

/// Kills all `processes` of a container and deletes it with the runtime; whether it is gone. If so,
/// its record is removed as well.
pub(super) fn kill_and_delete(
    runtime: &RuntimeProgram,
    deletion: &[OsString],
    processes: io::Result<ProcessSet>,
    record: &Record,
) -> bool {
    let killed = processes.is_ok_and(|processes| processes.kill());
    // Whether this has worked is seen below.
    let _ = handoff::command(runtime, deletion)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let gone = killed && !runtime_state::exists(record.container_key()).unwrap_or(true);
    if gone && let Err(e) = records::forget(record) {
        report::notice(&e.to_string());
    }
    gone
}

/// The remedy for a container that ran without its label; `gone` is the result of
/// [`kill_and_delete`].
pub(super) fn remedy(gone: bool, runtime: &RuntimeProgram, record: &Record) -> String {
    match gone {
        true => format!(
            "it was killed and deleted; update {}, and run: oci-apparmor check",
            runtime.kind.name()
        ),
        false => not_deleted(runtime, record),
    }
}

/// The remedy for a container that could not be killed and deleted.
pub(super) fn not_deleted(runtime: &RuntimeProgram, record: &Record) -> String {
    format!(
        "it could not be killed and deleted; run: {}",
        runtime.delete_command(record.container_key())
    )
}

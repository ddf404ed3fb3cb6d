//! `start`: the last moment at which nothing has run yet.
//!
//! A profile that is removed between `create` and `start` silently turns the label that waits
//! into `unconfined`, and loading it again does not bring it back (seen on 6.1, 6.12 and 7.2).
//! The number of its directory in the kernel tells: it is never used twice.

use std::ffi::OsString;

use crate::apparmor::loaded::Mode;
use crate::containers::record::{self, Place, Record, Recorded};
use crate::containers::{labels, runtime_state};
use crate::error::{Error, Kind, Result};
use crate::fs::run;
use crate::node::Node;
use crate::profiles::Source;
use crate::runtime::argv::Line;
use crate::runtime::locate::Located;
use crate::runtime::verify::{NOT_PUT_DOWN, PUT_DOWN, Subject};
use crate::runtime::{Next, command, exec, exit_code, watch};
use crate::settings::Verify;

pub(super) fn carry_out(
    runtime: &Located,
    line: &Line,
    words: &[OsString],
    node: &Node,
) -> Result<Next> {
    let root = runtime_state::root(runtime.kind, line.global("root"));
    let place = Place {
        root: &root,
        id: &line.id,
    };
    let Some(record) = record::read(place) else {
        // The bundle says which label waits, but nothing says what the kernel held then.
        return match exec::from_bundle(runtime, place, line, &Node::default())? {
            Some(lost) if !lost.components.is_empty() => {
                run::path()?;
                Err(Error::new(
                    Kind::Policy,
                    "the record of this container is lost, so it cannot be told whether its \
                     profile is still in force",
                )
                .with_remedy("delete the container and create it anew"))
            }
            _ => Ok(Next::HandOn),
        };
    };
    labels::enforced(&record, &node.kernel)?;
    for recorded in &record.components {
        if !is_in_force(node, recorded) {
            return Err(Error::new(
                Kind::Policy,
                format!(
                    "the profile {} was removed, replaced or set to another mode since the \
                     container was created; it would start without it",
                    recorded.name
                ),
            )
            .with_remedy("delete the container and create it anew"));
        }
    }
    if record.components.is_empty() || node.settings.verify == Verify::Off {
        return Ok(Next::HandOn);
    }
    match runtime_state::origin(runtime.kind, &root, &line.id)? {
        Some(origin) if origin.waits => verified(runtime, line, words, &record, origin.pid, node),
        // There is nothing to start; the runtime says so.
        _ => Ok(Next::HandOn),
    }
}

/// Starts the container, and puts it down again if its process then runs without the label.
fn verified(
    runtime: &Located,
    line: &Line,
    words: &[OsString],
    record: &Record,
    pid: Option<u32>,
    node: &Node,
) -> Result<Next> {
    let subject = pid.map(Subject::of).transpose();
    let subject = subject.map_err(|e| e.with_remedy("nothing was started; try again"))?;
    let Some(subject) = subject.flatten() else {
        // What waited has ended; the runtime says so.
        return Ok(Next::HandOn);
    };
    subject
        .waits_for(record, node)
        .map_err(|e| e.with_remedy("delete the container and create it anew"))?;
    // It takes over where we are killed while the runtime is at it.
    let watcher = watch::beside_us(runtime, line, record, words)
        .map_err(|e| e.with_remedy("nothing was started; try again"))?;
    let waits = || {
        let origin = runtime_state::origin(runtime.kind, &record.root, &record.id);
        origin.is_ok_and(|origin| origin.is_some_and(|origin| origin.waits))
    };
    let code = exit_code(command(runtime, words).status(), &runtime.program, waits);
    // A runtime can fail after it has let the process go.
    let is_open = matches!(code, Ok(0)) || !waits() || !subject.is_the_runtimes();
    let Some(Err(why)) = is_open.then(|| subject.verify(record, node)) else {
        // Where the gate seems closed still, the watcher makes sure of it.
        if is_open {
            watcher.dismiss();
        }
        return code.map(Next::Done);
    };
    // Where that fails, the watcher goes on trying.
    let remedy = match subject.put_down(runtime, &line.deletion(), record) {
        true => {
            watcher.dismiss();
            PUT_DOWN
        }
        false => NOT_PUT_DOWN,
    };
    Err(why.with_remedy(remedy))
}

/// Whether the kernel has the very profile that the waiting label means, and it confines as much.
fn is_in_force(node: &Node, recorded: &Recorded) -> bool {
    let Some(now) = node.kernel.at(&recorded.directory, recorded.name.as_str()) else {
        return false;
    };
    now.mode == recorded.mode
        || now.mode.enforces()
        || now.mode == Mode::Complain && Source::complains(&recorded.name, &node.settings)
}

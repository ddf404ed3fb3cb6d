//! `start`: the last call before the container's process runs.
//!
//! If a profile is removed between `create` and `start`, the label that waits for execve(2) silently
//! becomes `unconfined`. Loading the profile again does not restore it (seen on 6.1, 6.12 and 7.2). The
//! kernel never reuses the number in a profile's directory name, so the recorded directory shows this.

use std::ffi::OsString;

use crate::apparmor::loaded::Mode;
use crate::containers::record::{ContainerKey, Record, RecordedProfile};
use crate::containers::{labels, records, runtime_state};
use crate::error::{Error, Kind, Result};
use crate::fs::run;
use crate::node::Node;
use crate::profiles::Source;
use crate::runtime::argv::RuntimeCommand;
use crate::runtime::handoff;
use crate::runtime::locate::RuntimeProgram;
use crate::runtime::verify::ContainerProcess;
use crate::runtime::watcher::watch::WatchedCall;
use crate::runtime::{kill, recover};
use crate::settings::Verify;

const NOT_STARTED: &str = "nothing was started; try again";

pub(super) fn carry_out(
    runtime: &RuntimeProgram,
    line: &RuntimeCommand,
    words: &[OsString],
    node: &Node,
) -> Result<u8> {
    let root = runtime_state::root(runtime.kind, line.global("root"));
    let key = ContainerKey {
        root: &root,
        id: &line.id,
    };
    let unchanged = || Err(handoff::exec(runtime, words));
    let recreate = || {
        format!(
            "run: {}, and create the container again",
            runtime.delete_command(key)
        )
    };
    let Some(record) = records::read(key) else {
        // The bundle has the label, but only the record has the profile's directory in the kernel.
        return match recover::from_bundle(runtime, key, line, &Node::default())? {
            Some(lost) if !lost.components.is_empty() => {
                run::path()?;
                Err(Error::new(
                    Kind::Policy,
                    "the record of this container is missing, so its profile cannot be verified",
                )
                .with_remedy(recreate()))
            }
            _ => unchanged(),
        };
    };
    labels::check_enforcement(&record, &node.kernel)?;
    for recorded in &record.components {
        if !is_unchanged(node, recorded) {
            return Err(Error::new(
                Kind::Policy,
                format!(
                    "the profile {} was removed, replaced or set to another mode after the \
                     container was created, so the container would start without it",
                    recorded.name
                ),
            )
            .with_remedy(recreate()));
        }
    }
    if record.components.is_empty() || node.settings.verify == Verify::Off {
        return unchanged();
    }
    match runtime_state::read(runtime.kind, key)? {
        Some(state) if state.awaits_start => {
            let process = state.pid.map(ContainerProcess::open).transpose();
            let process = process.map_err(|e| e.with_remedy(NOT_STARTED))?;
            let Some(process) = process.flatten() else {
                // The process has ended. The runtime reports that.
                return unchanged();
            };
            process
                .check_next_label(&record, node)
                .map_err(|e| e.with_remedy(recreate()))?;
            start_and_verify(runtime, line, words, &record, &process, node)
        }
        // There is nothing to start. The runtime reports that.
        _ => unchanged(),
    }
}

/// Starts the container, and kills and deletes it if its process runs without the label.
fn start_and_verify(
    runtime: &RuntimeProgram,
    line: &RuntimeCommand,
    words: &[OsString],
    record: &Record,
    process: &ContainerProcess,
    node: &Node,
) -> Result<u8> {
    // It goes on if this process is killed while the runtime works.
    let call = WatchedCall {
        runtime,
        line,
        record,
        settings: &node.settings,
    };
    let watcher = call.watch_start(words, process);
    let watcher = watcher.map_err(|e| e.with_remedy(NOT_STARTED))?;
    let awaits_start = || {
        let state = runtime_state::read(runtime.kind, record.container_key());
        state.is_ok_and(|state| state.is_some_and(|state| state.awaits_start))
    };
    let status = handoff::command(runtime, words).status();
    let code = handoff::exit_code(status, &runtime.program, awaits_start);
    // A runtime can fail after it has let the process go on.
    let is_started = matches!(code, Ok(0)) || !awaits_start() || !process.executes_the_runtime();
    let Some(Err(why)) = is_started.then(|| process.verify(record, node)) else {
        // If the container does not seem to be started, the watcher keeps looking.
        if is_started {
            watcher.dismiss();
        }
        return code;
    };
    let gone = process.kill_and_delete(runtime, &line.deletion(), record);
    // If it is not gone, the watcher tries again.
    if gone {
        watcher.dismiss();
    }
    Err(why.with_remedy(kill::remedy(gone, runtime, record)))
}

/// Whether the kernel still has the recorded profile, and it confines as much as it did.
fn is_unchanged(node: &Node, recorded: &RecordedProfile) -> bool {
    let Some(now) = node.kernel.at(&recorded.directory, recorded.name.as_str()) else {
        return false;
    };
    now.mode == recorded.mode
        || now.mode.enforces()
        || now.mode == Mode::Complain && Source::complains(&recorded.name, &node.settings)
}

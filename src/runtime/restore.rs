//! `restore`: CRIU only changes a label that the checkpoint has. A checkpoint of an unconfined process
//! is restored unconfined whatever `--lsm-profile` says (`criu/cr-restore.c`), so the label of every
//! thread is checked before the call returns.

use std::ffi::OsStr;
use std::path::Path;

use crate::containers::record::Record;
use crate::containers::records;
use crate::error::{Error, Kind, Result};
use crate::node::Node;
use crate::runtime::argv::RuntimeCommand;
use crate::runtime::handoff;
use crate::runtime::locate::RuntimeProgram;
use crate::runtime::restored::RestoredContainer;
use crate::runtime::verify;
use crate::runtime::watcher::watch::WatchedCall;

/// Refuses a call that cannot be verified, before anything is changed.
pub(super) fn can_be_verified(line: &RuntimeCommand) -> Result<()> {
    if line.has("detach") && line.option("pid-file").is_some() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Policy,
        "a restored container can only be verified with --detach and --pid-file",
    )
    .with_remedy("add both options"))
}

/// Restores the container, and kills and deletes it if a thread lacks the label.
pub(super) fn carry_out(
    runtime: &RuntimeProgram,
    line: &RuntimeCommand,
    record: &Record,
    node: &Node,
) -> Result<u8> {
    let (words, deletion) = (line.words(), line.deletion());
    let prepared = (|| {
        let container = RestoredContainer::expected(runtime, &deletion, record)?;
        // It goes on if this process is killed, for instance after the engine's time limit, which CRIU
        // may exceed.
        let call = WatchedCall {
            runtime,
            line,
            record,
            settings: &node.settings,
        };
        let watcher = call.watch_restore(&words, &container)?;
        Ok((container, watcher))
    })();
    let (container, watcher) = match prepared {
        Ok(prepared) => prepared,
        Err(e) => {
            records::forget(record)?;
            return Err(e);
        }
    };
    let status = handoff::command(runtime, &words).status();
    let code = handoff::exit_code(status, &runtime.program, || {
        !record.container_key().state_directory().exists()
    });
    let (is_settled, result) = match code {
        Ok(0) => {
            let pid_file = line.option("pid-file").unwrap_or(OsStr::new(""));
            let first = verify::read_pid_file(Path::new(pid_file));
            match first.and_then(|pid| container.check(pid, node)) {
                Ok(()) => (true, Ok(0)),
                Err(why) => {
                    let (gone, error) = container.refuse(why);
                    (gone, Err(error))
                }
            }
        }
        // A failed runtime may leave processes: crun writes its state too late. It has reported the
        // reason itself.
        Ok(code) => (container.clean_up(), Ok(code)),
        // It may still run.
        Err(e) => (false, Err(e)),
    };
    // Otherwise the watcher tries again.
    if is_settled {
        watcher.dismiss();
    }
    result
}

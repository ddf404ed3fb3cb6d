//! A watcher: a process that outlives the wrapper and finishes its work.
//!
//! The engine may kill the wrapper at a time limit, and for `run` the wrapper becomes the runtime. The
//! watcher then verifies the container's label and removes its record. It is the same program under
//! another name, in its own session, without any descriptor of the engine. It is ready before the
//! runtime is called, so that the call fails if no watcher can be started.

mod arguments;
mod runtime_process;
pub(super) mod spawn;
mod watch;

use std::ffi::{OsStr, OsString};

use nix::unistd;

use crate::child;
use crate::runtime::watcher::arguments::WatcherArguments;
use crate::runtime::watcher::spawn::{CHILD, GRANDCHILD};

/// Whether this process is a watcher.
pub(super) fn is_called_by(argv0: &OsStr) -> bool {
    argv0 == CHILD || argv0 == GRANDCHILD
}

/// Runs a watcher. Its standard input is a pidfd of the process that it watches; it writes to its
/// standard output when it is ready. Returns the exit code.
pub(super) fn main(argv0: &OsStr, words: &[OsString]) -> u8 {
    let done = match WatcherArguments::from_words(words) {
        Some(arguments) if argv0 == CHILD => detach(&arguments),
        Some(arguments) => watch::watch(&arguments),
        None => None,
    };
    u8::from(done.is_none())
}

/// Leaves the engine's session and closes its descriptors.
fn detach(arguments: &WatcherArguments) -> Option<()> {
    // An engine waits until the other ends of its pipes and sockets are closed.
    child::close_inherited().ok()?;
    unistd::setsid().ok()?;
    if arguments.calls_the_runtime() {
        return watch::watch(arguments);
    }
    spawn::grandchild(arguments)
}

//! A watcher: a process that outlives the wrapper and finishes its work.
//!
//! The engine may kill the wrapper at a time limit, and for `run` the wrapper becomes the runtime. The
//! watcher then verifies the container's label and removes its record. It is a copy of the wrapper
//! (fork(2)), in its own session, without any descriptor of the engine. It is ready before the runtime
//! is called, so that the call fails if no watcher can be started.
//!
//! It keeps the command line of the wrapper. [`NAME`] tells it from a call of the runtime.

mod runtime_process;
mod spawn;
mod state_events;
pub(super) mod watch;

use std::ffi::CStr;

/// The name of a watcher in `/proc/PID/comm`, and in `ps -e`.
const NAME: &CStr = c"oci-aa-watcher";

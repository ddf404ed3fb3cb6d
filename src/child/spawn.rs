//! Starting a program without the file descriptors of our caller.

use std::io;
use std::process::{Child, Command};

use oci_apparmor_entry::descriptors;

/// Starts `command` with no descriptors except the standard three. The engine's descriptors are
/// for the low-level runtime only, and the engine waits until its pipes are closed.
///
/// # Errors
/// As for [`Command::spawn`].
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    descriptors::kept_from_children(|| command.spawn())?
}

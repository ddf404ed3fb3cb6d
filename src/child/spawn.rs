//! Starting a program without the file descriptors of our caller.

use std::fs;
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

/// Closes every descriptor of this thread that an exec'ed program would inherit, except the
/// standard three.
///
/// # Errors
/// If the open descriptors cannot be listed.
pub fn close_inherited() -> io::Result<()> {
    for entry in fs::read_dir("/proc/thread-self/fdinfo")? {
        let entry = entry?;
        let Some(fd) = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<i32>().ok())
        else {
            continue;
        };
        let info = fs::read_to_string(entry.path())?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|octal| i32::from_str_radix(octal.trim(), 8).ok());
        if fd > 2 && flags.is_none_or(|flags| flags & libc::O_CLOEXEC == 0) {
            nix::unistd::close(fd)?;
        }
    }
    Ok(())
}

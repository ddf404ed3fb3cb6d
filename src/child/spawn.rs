//! Starting a program without the file descriptors of our caller.

use std::fs;
use std::io;
use std::process::{Child, Command};

/// Starts `command` with no descriptors except the standard three. The engine's descriptors are
/// for the low-level runtime only, and the engine waits until its pipes are closed.
///
/// `command` must not have `Stdio::piped()`: these pipes would be closed when this returns. Make them
/// before, with `std::io::pipe()`.
///
/// # Errors
/// As for [`Command::spawn`].
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    // A thread with its own descriptor table can close them without closing ours.
    std::thread::scope(|scope| {
        let started = std::thread::Builder::new().spawn_scoped(scope, || {
            // Docker's seccomp filter denies unshare(2), for example to `lint` in a CI job.
            if nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).is_ok() {
                close_inherited()?;
            }
            command.spawn()
        });
        let ended = started?.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the thread that starts it failed")))
    })
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

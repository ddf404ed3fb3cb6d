//! A process that outlives the wrapper and drops the record of a container that `run` removed.
//!
//! A `run` in the foreground deletes its container itself, after we have become it. So a child of
//! ours becomes a session of its own, closes every descriptor, waits for the end of the process
//! that we were, and removes the record if the container is gone.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::{Error, Kind, Result};
use crate::runtime::record::{self, Place};

/// The names by which the two generations know themselves.
const CHILD: &str = "oci-apparmor-watch";
const GRANDCHILD: &str = "oci-apparmor-watcher";

pub(super) fn is_called_by(argv0: &OsStr) -> bool {
    argv0 == CHILD || argv0 == GRANDCHILD
}

/// Starts it; it watches this process, whatever that becomes.
pub(super) fn until_it_ends(place: Place<'_>) -> Result<()> {
    let failed = |why: &str| Error::new(Kind::Internal, format!("cannot start the watcher: {why}"));
    let status = itself(CHILD)
        .arg(std::process::id().to_string())
        .arg(place.root)
        .arg(place.id)
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(&status.to_string())),
        // Reaped by the kernel, where SIGCHLD is ignored.
        Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(()),
        Err(e) => Err(failed(&e.to_string())),
    }
}

/// This program under another name, with nothing of ours but the words that it needs.
fn itself(name: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(name)
        .current_dir("/")
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(directory) = env::var_os("XDG_RUNTIME_DIR") {
        command.env("XDG_RUNTIME_DIR", directory);
    }
    command
}

pub(super) fn main(argv0: &OsStr, words: &[OsString]) -> ExitCode {
    let done = match argv0 == CHILD {
        true => detach(words),
        false => wait(words),
    };
    if done.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The child: leaves session and descriptors behind, and lets the grandchild be nobody's.
fn detach(words: &[OsString]) -> Option<()> {
    let [pid, rest @ ..] = words else { return None };
    close_inherited();
    nix::unistd::setsid().ok()?;
    let pid = Pid::from_raw(pid.to_str()?.parse().ok()?)?;
    let watched: OwnedFd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    itself(GRANDCHILD)
        .args(rest)
        .stdin(Stdio::from(watched))
        .spawn()
        .ok()?;
    Some(())
}

/// An engine waits for the other ends of its pipes and sockets; none may stay open here.
fn close_inherited() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open: Vec<i32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // The directory's own descriptor is closed by now.
        let _ = nix::unistd::close(fd);
    }
}

/// The grandchild: its standard input is the process that it waits for.
fn wait(words: &[OsString]) -> Option<()> {
    let [root, id] = words else { return None };
    let root = PathBuf::from(root);
    let place = Place {
        root: Path::new(&root),
        id: id.to_str()?,
    };
    let own = record::read(place).ok()??;
    let stdin = std::io::stdin();
    loop {
        match poll(&mut [PollFd::new(&stdin.as_fd(), PollFlags::IN)], None) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) => break,
            Err(_) => return None,
        }
    }
    let gone = root.join(place.id).symlink_metadata().is_err();
    // Another container of this id may have come meanwhile.
    if gone && record::read(place).ok()? == Some(own) {
        record::remove(place).ok()?;
    }
    Some(())
}

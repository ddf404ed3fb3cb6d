//! `/run/oci-apparmor`: the records and locks of this boot; `docs/formats.md` has the layout.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::fs::{temporary, trusted};
use crate::user_namespace;

/// The node's own, below a `/run` that is its root's.
const NODE: &str = "/run/oci-apparmor";

/// The run-time directory that a login gives to root (`pam_systemd(8)`), also in a container that
/// is a system of its own. It goes with the last session, and services do not have it.
const OF_ROOTS_SESSIONS: &str = "/run/user/0";

/// The directory of this user: the node's own, or a rootless user's.
///
/// # Errors
/// Where a rootless user has no run-time directory.
pub fn path() -> Result<PathBuf> {
    let own = env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|p| p.is_absolute());
    let root = nix::unistd::geteuid().is_root();
    // Engines that run as root may carry a caller's XDG_RUNTIME_DIR; there is one node.
    if root && user_namespace::is_initial() {
        return Ok(PathBuf::from(NODE));
    }
    // A system of its own in a user namespace (an unprivileged container of LXC, a nested engine)
    // has one /run for all, which belongs to its root.
    let is_system = || root && trusted::own_directory_as_it_is(Path::new("/run")).is_ok();
    match own {
        // A rootless engine's user namespace has its user's directory, even where /run is its own
        // as well (RootlessKit copies it up).
        Some(own) if own != Path::new(OF_ROOTS_SESSIONS) || !is_system() => {
            Ok(own.join("oci-apparmor"))
        }
        None if !is_system() => Err(nowhere()),
        _ => Ok(PathBuf::from(NODE)),
    }
}

/// The refusal of what needs a record where there is no place for one.
fn nowhere() -> Error {
    // In a user namespace, the number that its root has outside of it.
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let outside = map.split_whitespace().nth(1).unwrap_or_default();
    let user = match nix::unistd::geteuid().as_raw() {
        0 => outside.to_owned(),
        user => user.to_string(),
    };
    Error::new(
        Kind::Internal,
        "there is no place for the records of containers: XDG_RUNTIME_DIR is not set",
    )
    .with_remedy(format!(
        "set it to a directory of this user: export XDG_RUNTIME_DIR=/run/user/{user}"
    ))
}

/// One of our own files of at most `max` bytes; `None` where there is none that can be relied on.
#[must_use]
pub fn read(path: &Path, max: u64) -> Option<Vec<u8>> {
    // In a directory that others can write, a file of ours may be there under another's name.
    let base = self::path().ok()?;
    let ours = |directory: &Path| trusted::own_directory_as_it_is(directory).is_ok();
    let directories = path.ancestors().skip(1);
    if !directories.take_while(|d| d.starts_with(&base)).all(ours) {
        return None;
    }
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .ok()?;
    // A file that is not ours was not put there by us.
    trusted::own_file(&file, max)
}

/// What is in one of our own directories; nothing where there is none.
///
/// # Errors
/// Where it cannot be listed.
pub fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(entries.filter_map(|e| Some(e.ok()?.path())).collect()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Error::io("list", directory, &e)),
    }
}

/// Takes one of our own files away by one step, to be looked at and removed; `None` where there is
/// none any more.
///
/// # Errors
/// Where it cannot be moved.
pub fn take(path: &Path) -> Result<Option<PathBuf>> {
    let directory = self::path()?.join("tmp");
    trusted::own_directory(&directory, 0o700)?;
    let aside = directory.join(temporary::mark());
    match fs::rename(path, &aside) {
        Ok(()) => Ok(Some(aside)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("remove", path, &e)),
    }
}

/// Puts back a file that was taken, unless there is a newer one by now.
///
/// # Errors
/// Where that fails.
pub fn put_back(aside: &Path, path: &Path) -> Result<()> {
    match fs::hard_link(aside, path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::io("put back", path, &e));
        }
        _ => {}
    }
    fs::remove_file(aside).map_err(|e| Error::io("remove", aside, &e))
}

/// Writes one of our own files, whole or not at all, and the directories above it.
///
/// # Errors
/// Where that is not possible; what was there before is then still there.
pub fn replace(target: &Path, bytes: &[u8]) -> Result<()> {
    let base = path()?;
    // What is below can only be ours.
    trusted::own_directory(&base, 0o700)?;
    let directory = base.join("tmp");
    let temporary = directory.join(temporary::mark());
    let make = |directory: &Path| {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(directory)
    };
    let open = || {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
    };
    let written = (|| -> io::Result<()> {
        let mut file = match open() {
            // Left over by a process of this mark that was killed.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&temporary)?;
                open()?
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                make(&directory)?;
                open()?
            }
            other => other?,
        };
        file.write_all(bytes)?;
        match (fs::rename(&temporary, target), target.parent()) {
            (Err(e), Some(parent)) if e.kind() == io::ErrorKind::NotFound => {
                make(parent)?;
                fs::rename(&temporary, target)
            }
            (other, _) => other,
        }
    })();
    written.map_err(|e| {
        let _ = fs::remove_file(&temporary);
        Error::io("write", target, &e)
    })
}

//! `/run/oci-apparmor`: records and locks, valid for this boot. `docs/formats.md` has the layout.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::error::{Error, Kind, Result};
use crate::fs::replace::{self, Options};
use crate::fs::{own, temporary};
use crate::user_namespace;

/// The directory of the node, for root.
pub const NODE: &str = "/run/oci-apparmor";

/// The runtime directory of root's login sessions (`pam_systemd(8)`), also in a system container.
/// It is removed with the last session, and services do not have it.
const ROOT_SESSIONS: &str = "/run/user/0";

/// The directory of this user: that of the node, or one in `$XDG_RUNTIME_DIR`.
///
/// # Errors
/// [`Kind::Internal`] if a rootless user has no runtime directory.
pub fn path() -> Result<PathBuf> {
    let xdg = env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|p| p.is_absolute());
    let root = user_namespace::is_root();
    // An engine that runs as root may have inherited XDG_RUNTIME_DIR from its caller; records
    // must not depend on that.
    if root && user_namespace::is_initial() {
        return Ok(PathBuf::from(NODE));
    }
    // A system in a user namespace (unprivileged LXC, a nested engine) has its own /run, which
    // belongs to the root of the namespace.
    let is_system = || root && own::check_directory(Path::new("/run")).is_ok();
    match xdg {
        // A rootless engine's user namespace keeps the directory of its user, even if /run is its
        // own as well (RootlessKit's --copy-up=/run).
        Some(xdg) if xdg != Path::new(ROOT_SESSIONS) || !is_system() => {
            Ok(xdg.join("oci-apparmor"))
        }
        None if !is_system() => Err(no_directory()),
        _ => Ok(PathBuf::from(NODE)),
    }
}

fn no_directory() -> Error {
    // For root of a user namespace, the uid outside of it is needed.
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let outside = map.split_whitespace().nth(1).unwrap_or_default();
    let user = match user_namespace::effective_uid() {
        0 => outside.to_owned(),
        user => user.to_string(),
    };
    Error::new(
        Kind::Internal,
        "there is no directory for container records: XDG_RUNTIME_DIR is not set",
    )
    .with_remedy(format!("run: export XDG_RUNTIME_DIR=/run/user/{user}"))
}

/// Reads one of our files, at most `max` bytes. `None` if it does not exist, or if another user
/// could have written it or put it there.
#[must_use]
pub fn read(path: &Path, max: u64) -> Option<Vec<u8>> {
    // In a directory that others can write, our file may have been renamed or replaced.
    let base = self::path().ok()?;
    let mut directories = path
        .ancestors()
        .skip(1)
        .take_while(|d| d.starts_with(&base));
    if !directories.all(is_own) {
        return None;
    }
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .ok()?;
    own::read(&file, max)
}

/// The path of one of our directories, which only this user can write if it exists.
///
/// # Errors
/// As for [`path`], and [`Kind::Internal`] if another user could write it.
pub fn directory(name: &str) -> Result<PathBuf> {
    let base = path()?;
    let directory = base.join(name);
    // Other users can put nothing into a base that is ours, so what is in it is ours.
    if !is_own(&base) {
        own::directory(&directory, 0o700)?;
    }
    Ok(directory)
}

/// Whether a directory is there and ours. Only its owner can change that, so once is enough.
fn is_own(directory: &Path) -> bool {
    static OWN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    let Ok(mut known) = OWN.lock() else {
        return own::check_directory(directory).is_ok();
    };
    if known.iter().any(|own| own == directory) {
        return true;
    }
    let is_own = own::check_directory(directory).is_ok();
    if is_own {
        known.push(directory.to_owned());
    }
    is_own
}

/// The entries of one of our directories; none if it does not exist.
///
/// # Errors
/// [`Kind::Internal`] if it cannot be read.
pub fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(entries.filter_map(|e| Some(e.ok()?.path())).collect()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Error::io("list", directory, &e)),
    }
}

/// Moves one of our files to a private name, so that it can be examined and removed without a
/// race. `None` if it no longer exists.
///
/// # Errors
/// [`Kind::Internal`] if it cannot be moved.
pub fn take(path: &Path) -> Result<Option<PathBuf>> {
    let directory = self::path()?.join("tmp");
    own::directory(&directory, 0o700)?;
    let aside = directory.join(temporary::mark());
    match fs::rename(path, &aside) {
        Ok(()) => Ok(Some(aside)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("remove", path, &e)),
    }
}

/// Moves a file that was taken back to `path`, unless there is a newer file by now.
///
/// # Errors
/// [`Kind::Internal`] if that fails.
pub fn put_back(aside: &Path, path: &Path) -> Result<()> {
    match fs::hard_link(aside, path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::io("put back", path, &e));
        }
        _ => {}
    }
    fs::remove_file(aside).map_err(|e| Error::io("remove", aside, &e))
}

/// Replaces one of our files in one step, and creates the directories above it. Nothing is
/// synced: `/run` does not survive a reboot.
///
/// # Errors
/// [`Kind::Internal`] if it cannot be written; the old contents are then still there.
pub fn replace(target: &Path, bytes: &[u8]) -> Result<()> {
    let base = path()?;
    if !is_own(&base) {
        own::directory(&base, 0o700)?;
    }
    let directory = base.join("tmp");
    let temporary = directory.join(temporary::mark());
    let write = || replace::replace(target, &temporary, bytes, Options::private());
    let written = match write() {
        // The directories usually exist, so they are only created after a failure.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let create = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
            create(&directory)
                .and_then(|()| target.parent().map_or(Ok(()), create))
                .and_then(|()| write())
        }
        other => other,
    };
    written.map_err(|e| Error::io("write", target, &e))
}

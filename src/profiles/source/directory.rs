//! The files of a profile directory.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::fs::fingerprint::Fingerprint;

/// The directory of the distribution, which `apparmor.service` loads at boot. Most of its
/// profiles confine programs of the host.
pub const DISTRIBUTION: &str = "/etc/apparmor.d";

/// Endings of file names that apparmor_parser skips in a directory, besides files that begin with
/// a dot (`_aa_is_blacklisted()`, libapparmor/src/private.c).
const SKIPPED: [&str; 12] = [
    ".dpkg-new",
    ".dpkg-old",
    ".dpkg-dist",
    ".dpkg-bak",
    ".dpkg-remove",
    ".pacsave",
    ".pacnew",
    ".rpmnew",
    ".rpmsave",
    ".orig",
    ".rej",
    "~",
];

/// The files of a directory that may be sources, sorted; none if it does not exist.
pub(super) fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if is_source(&entry.file_name()) && may_be_file(&entry.path()) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a path leads to a file, as opposed to a directory or to nothing. What cannot be looked at
/// counts: the error is reported when it is read.
pub(super) fn may_be_file(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(meta) => meta.is_file(),
        Err(e) => e.kind() != io::ErrorKind::NotFound,
    }
}

/// Whether apparmor_parser would load a file of this name.
#[must_use]
pub fn is_source(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    !name.starts_with('.') && name != "README" && !SKIPPED.iter().any(|end| name.ends_with(end))
}

/// Whether a directory is [`DISTRIBUTION`], by any path or mount; true if that cannot be told. `known` is
/// the fingerprint of the directory, if it was just taken.
pub(super) fn is_distribution(directory: &Path, known: Option<&Fingerprint>) -> bool {
    let distribution = match fs::metadata(DISTRIBUTION) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return false,
        Err(_) => return true,
        Ok(meta) => meta,
    };
    if let Some(known) = known {
        return known.is_of(&distribution);
    }
    fs::metadata(directory).map_or(true, |meta| {
        (meta.dev(), meta.ino()) == (distribution.dev(), distribution.ino())
    })
}

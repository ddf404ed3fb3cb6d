//! The revision of the loaded policy.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// The revision of the loaded policy. Every load, replacement and removal of a profile changes it, and
/// nothing else changes the name, the mode or the content of a loaded profile
/// (`__aa_bump_ns_revision()`, security/apparmor/policy.c). So what was read of a profile after the
/// revision was read is still right as long as the revision is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    number: u64,
    /// The inode of the kernel's file and the time when the kernel created it: at boot. Each boot
    /// counts from the beginning.
    file: (u64, i64, i64),
}

/// The revision that was read last, and the open file.
#[derive(Debug, Default)]
pub(super) struct LastRevision(Mutex<Option<(File, Revision)>>);

impl LastRevision {
    /// Whether a revision was read.
    pub(super) fn is_known(&self) -> bool {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some()
    }

    /// The revision in the kernel's file at `path`; `None` if there is none.
    ///
    /// A later read of one open file says whether it has changed: the kernel has nothing to read
    /// otherwise, and without `O_NONBLOCK` it would wait. That holds for the first read, too, before
    /// the first profile is loaded (`ns_revision_read()`, security/apparmor/apparmorfs.c).
    pub(super) fn now(&self, path: &Path) -> Option<Revision> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((file, revision)) = last.as_mut() {
            match number_in(file) {
                Ok(Some(number)) => revision.number = number,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                _ => return None,
            }
            return Some(*revision);
        }
        let file = open(path)?;
        let number = number_in(&file).ok()??;
        let meta = file.metadata().ok()?;
        let revision = Revision {
            number,
            file: (meta.ino(), meta.ctime(), meta.ctime_nsec()),
        };
        *last = Some((file, revision));
        Some(revision)
    }
}

/// Opens the kernel's file. A read does not wait for a change.
pub(super) fn open(path: &Path) -> Option<File> {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    options.open(path).ok()
}

/// The number in the kernel's file; `None` if it has not changed since the last read.
#[must_use]
pub fn revision_in(file: &File) -> Option<u64> {
    number_in(file).ok()?
}

/// `None` if it is no number.
fn number_in(file: &File) -> io::Result<Option<u64>> {
    let mut text = [0; 32];
    let length = file.read_at(&mut text, 0)?;
    let text = text
        .get(..length)
        .and_then(|text| std::str::from_utf8(text).ok());
    Ok(text.and_then(|text| text.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_change_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("revision");
        let last = LastRevision::default();
        assert_eq!(last.now(&path), None);
        fs::write(&path, "7\n").unwrap();
        let before = last.now(&path);
        assert!(before.is_some());
        assert_eq!(last.now(&path), before);
        fs::write(&path, "8\n").unwrap();
        let after = last.now(&path);
        assert!(after.is_some() && after != before);
        fs::write(&path, "no number").unwrap();
        assert_eq!(last.now(&path), None);
    }
}

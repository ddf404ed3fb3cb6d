//! The revision of the loaded policy.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::apparmor::kernel::securityfs::Kernel;

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

impl Kernel {
    /// The revision of the loaded policy; `None` if the kernel has no such file.
    ///
    /// A later read of one open file says whether it has changed: the kernel has nothing to read
    /// otherwise, and without `O_NONBLOCK` it would wait. That holds for the first read, too, before
    /// the first profile is loaded (`ns_revision_read()`, security/apparmor/apparmorfs.c).
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        let mut last = self
            .last_revision
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((file, revision)) = last.as_mut() {
            match number_in(file) {
                Ok(Some(number)) => revision.number = number,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                _ => return None,
            }
            return Some(*revision);
        }
        let file = self.revision_file()?;
        let number = number_in(&file).ok()??;
        let meta = file.metadata().ok()?;
        let file_id = (meta.ino(), meta.ctime(), meta.ctime_nsec());
        let revision = Revision {
            number,
            file: file_id,
        };
        *last = Some((file, revision));
        Some(revision)
    }

    /// The revision file, for poll(2): it is readable when the revision differs from the one that
    /// was last read from it (`ns_revision_poll()`).
    #[must_use]
    pub fn revision_file(&self) -> Option<File> {
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        options.open(self.securityfs.join("revision")).ok()
    }
}

/// The number in [`Kernel::revision_file`]; `None` if it has not changed since the last read.
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
    use std::fs;

    use crate::apparmor::kernel::securityfs::tests::sys;

    #[test]
    fn a_change_is_seen() {
        let (_d, kernel) = sys(&[]);
        assert_eq!(kernel.revision(), None);
        let path = kernel.securityfs.join("revision");
        fs::write(&path, "7\n").unwrap();
        let before = kernel.revision();
        assert!(before.is_some());
        assert_eq!(kernel.revision(), before);
        fs::write(&path, "8\n").unwrap();
        let after = kernel.revision();
        assert!(after.is_some() && after != before);
        fs::write(&path, "no number").unwrap();
        assert_eq!(kernel.revision(), None);
    }
}

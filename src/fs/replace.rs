//! Replacing a file in one step: readers, and a crash at any time, find the old contents or the
//! new ones, never a part.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// The mode that every file has while it is written.
const PRIVATE: u32 = 0o600;

/// What the new file is like.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    mode: u32,
    /// uid and gid; `None`: those of this process.
    owner: Option<(u32, u32)>,
    durable: bool,
}

impl Options {
    /// A file with this mode, whatever the umask is.
    #[must_use]
    pub fn with_mode(mode: u32) -> Self {
        Self {
            mode,
            owner: None,
            durable: false,
        }
    }

    /// A file that only this user can read and write.
    #[must_use]
    pub fn private() -> Self {
        Self::with_mode(PRIVATE)
    }

    /// A file with the owner, the group and the mode of the old one.
    #[must_use]
    pub fn like(old: &Metadata) -> Self {
        Self {
            mode: old.mode() & 0o7777,
            owner: Some((old.uid(), old.gid())),
            durable: false,
        }
    }

    /// The same, and the new contents survive a power cut: file and directory are synced.
    #[must_use]
    pub fn durable(self) -> Self {
        Self {
            durable: true,
            ..self
        }
    }
}

/// Writes `bytes` to `temporary` and renames it to `target`. Both must be on one file system; a
/// `temporary` that a killed process left behind is removed first.
///
/// # Errors
/// Those of the system calls. `target` is then unchanged, and `temporary` is removed; only if the
/// directory cannot be synced, `target` has the new contents already.
pub fn replace(target: &Path, temporary: &Path, bytes: &[u8], options: Options) -> io::Result<()> {
    replace_in(AT_FDCWD, target, temporary, bytes, options)
}

/// The same with paths from an open directory on.
///
/// # Errors
/// As for [`replace`].
pub(crate) fn replace_in(
    directory: BorrowedFd<'_>,
    target: &Path,
    temporary: &Path,
    bytes: &[u8],
    options: Options,
) -> io::Result<()> {
    let done = write(directory, temporary, bytes, options).and_then(|()| {
        renameat(directory, temporary, directory, target)?;
        match target.parent() {
            Some(parent) if options.durable => {
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
                open(directory, parent, flags)?.sync_all()
            }
            _ => Ok(()),
        }
    });
    if done.is_err() {
        // Best effort: the next attempt removes it as well.
        let _ = remove(directory, temporary);
    }
    done
}

fn write(
    directory: BorrowedFd<'_>,
    temporary: &Path,
    bytes: &[u8],
    options: Options,
) -> io::Result<()> {
    let create = || {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        open(directory, temporary, flags)
    };
    let mut file = match create() {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            remove(directory, temporary)?;
            create()?
        }
        created => created?,
    };
    file.write_all(bytes)?;
    if let Some((uid, gid)) = options.owner {
        let meta = file.metadata()?;
        if (meta.uid(), meta.gid()) != (uid, gid) {
            fchown(&file, Some(uid), Some(gid))?;
        }
    }
    // After chown(2), which clears set-user-ID bits. A private file has its mode from open(2).
    if options.owner.is_some() || options.mode != PRIVATE {
        file.set_permissions(Permissions::from_mode(options.mode))?;
    }
    if options.durable {
        file.sync_all()?;
    }
    Ok(())
}

fn open(directory: BorrowedFd<'_>, path: &Path, flags: OFlag) -> io::Result<File> {
    loop {
        let mode = Mode::from_bits_truncate(PRIVATE);
        match openat(directory, path, flags | OFlag::O_CLOEXEC, mode) {
            Err(Errno::EINTR) => {}
            opened => return Ok(File::from(opened?)),
        }
    }
}

fn remove(directory: BorrowedFd<'_>, path: &Path) -> nix::Result<()> {
    unlinkat(directory, path, UnlinkatFlags::NoRemoveDir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_new_file_has_the_mode_and_the_owner_that_were_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (target, temporary) = (dir.path().join("f"), dir.path().join(".f"));
        let facts = || {
            let meta = fs::metadata(&target).unwrap();
            let text = fs::read_to_string(&target).unwrap();
            (text, meta.uid(), meta.gid(), meta.mode() & 0o7777)
        };
        fs::write(&temporary, "left behind").unwrap();
        replace(&target, &temporary, b"1", Options::private()).unwrap();
        let me = (
            nix::unistd::geteuid().as_raw(),
            nix::unistd::getegid().as_raw(),
        );
        assert_eq!(facts(), ("1".to_owned(), me.0, me.1, 0o600));
        replace(
            &target,
            &temporary,
            b"2",
            Options::with_mode(0o666).durable(),
        )
        .unwrap();
        assert_eq!(facts(), ("2".to_owned(), me.0, me.1, 0o666));
        std::os::unix::fs::chown(&target, Some(12), Some(34)).unwrap();
        let old = fs::metadata(&target).unwrap();
        replace(&target, &temporary, b"3", Options::like(&old)).unwrap();
        assert_eq!(facts(), ("3".to_owned(), 12, 34, 0o666));
        assert!(!temporary.exists());
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("directory");
        fs::create_dir(&target).unwrap();
        let temporary = dir.path().join("t");
        assert!(replace(&target, &temporary, b"1", Options::private()).is_err());
        assert!(target.is_dir() && !temporary.exists());
        assert!(
            replace(
                &target,
                &dir.path().join("none/t"),
                b"1",
                Options::private()
            )
            .is_err()
        );
    }
}

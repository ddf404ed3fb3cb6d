//! Files of a bundle: checked when they are opened, and replaced as a whole or not at all.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;

use crate::error::{Error, Kind, Result, reason};
use crate::fs::real_path::RealDirectory;
use crate::fs::replace::{self, Options};
use crate::fs::{bounded, temporary};

/// The largest document that is read; real ones are some 20 KiB.
pub(super) const MAX: u64 = 16 << 20;

/// A document on disk, with its bytes.
#[derive(Debug)]
pub struct BundleFile {
    path: PathBuf,
    file: File,
    /// From before the first byte was read.
    meta: Metadata,
    bytes: Vec<u8>,
}

/// The error for a document that cannot be read.
pub(super) fn cannot_read(path: &Path, e: &io::Error) -> Error {
    let why = match e.raw_os_error() {
        Some(libc::ELOOP) => "it is a symbolic link".to_owned(),
        _ => reason(e),
    };
    Error::new(
        Kind::Internal,
        format!("cannot read {}: {why}", path.display()),
    )
    .with_remedy("create the container again; if that fails, report it to the engine's developers")
}

pub(super) fn too_large() -> io::Error {
    io::Error::other("it is larger than 16 MiB")
}

impl BundleFile {
    /// Opens the configuration of a bundle.
    ///
    /// # Errors
    /// [`Kind::Internal`] where it is missing, a symbolic link, not a regular file or too large.
    pub fn config(path: &Path) -> Result<Self> {
        Self::open(AT_FDCWD, path, path.to_owned(), false)
    }

    /// Opens the configuration `path` of an open bundle.
    ///
    /// # Errors
    /// As for [`BundleFile::config`].
    pub fn config_of(bundle: &RealDirectory, path: &Path) -> Result<Self> {
        Self::open(
            bundle.as_fd(),
            bundle.relative(path),
            path.to_owned(),
            false,
        )
    }

    /// Opens a process that `exec` is given, for writing, too.
    ///
    /// # Errors
    /// As for [`BundleFile::config`].
    pub(super) fn process(path: &Path) -> Result<Self> {
        Self::open(AT_FDCWD, path, path.to_owned(), true)
    }

    /// Opens a regular file that is not a link; for writing, too, if `write` says so. `shown` is its path
    /// in messages.
    fn open(directory: BorrowedFd<'_>, path: &Path, shown: PathBuf, write: bool) -> Result<Self> {
        let failed = |e: &io::Error| cannot_read(&shown, e);
        let access = if write {
            OFlag::O_RDWR
        } else {
            OFlag::O_RDONLY
        };
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let file = loop {
            match openat(directory, path, access | flags, Mode::empty()) {
                Err(Errno::EINTR) => {}
                opened => break File::from(opened.map_err(|e| failed(&e.into()))?),
            }
        };
        let meta = file.metadata().map_err(|e| failed(&e))?;
        if !meta.is_file() {
            return Err(failed(&io::Error::other("it is not a regular file")));
        }
        let bytes = bounded::read_sized(&file, meta.len(), MAX)
            .map_err(|e| failed(&e))?
            .ok_or_else(|| failed(&too_large()))?;
        Ok(Self {
            path: shown,
            file,
            meta,
            bytes,
        })
    }

    /// Its metadata, from before it was read.
    pub(super) fn metadata(&self) -> &Metadata {
        &self.meta
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces it by rename(2): a reader finds the old or the new text, never a part, also if this
    /// process is killed. There is no fsync: engines write the file again at each start, so it
    /// need not survive a power failure.
    ///
    /// # Errors
    /// [`Kind::Internal`]; the old text is still there.
    pub fn replace(&self, bundle: &RealDirectory, text: &str) -> Result<()> {
        let path = bundle.relative(&self.path);
        let temporary = path.with_file_name(format!(".config.json.{}", temporary::mark()));
        let options = Options::like(&self.meta);
        let replaced =
            replace::replace_in(bundle.as_fd(), path, &temporary, text.as_bytes(), options);
        replaced.map_err(|e| Error::io("write", &self.path, &e).with_remedy("nothing was changed"))
    }

    /// Overwrites it in place.
    ///
    /// # Errors
    /// [`Kind::Internal`]; the process must then not be started.
    pub fn rewrite(&self, text: &str) -> Result<()> {
        let failed = |e: io::Error| Error::io("write", &self.path, &e);
        self.file.write_all_at(text.as_bytes(), 0).map_err(failed)?;
        self.file.set_len(text.len() as u64).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn bundle(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), text).unwrap();
        dir
    }

    fn open(dir: &Path) -> Result<BundleFile> {
        let bundle = RealDirectory::open(dir).unwrap();
        BundleFile::config_of(&bundle, &bundle.path().join("config.json"))
    }

    #[test]
    fn replacing_keeps_owner_and_mode_and_leaves_nothing_else() {
        let dir = bundle("old");
        let path = dir.path().join("config.json");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::chown(&path, Some(12), Some(34)).unwrap();
        let bundle = RealDirectory::open(dir.path()).unwrap();
        open(dir.path()).unwrap().replace(&bundle, "new").unwrap();
        let meta = fs::metadata(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(
            (meta.uid(), meta.gid(), meta.mode() & 0o7777),
            (12, 34, 0o640)
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

        // Usually nothing is left over.
        let again = open(dir.path()).unwrap();
        assert_eq!(again.bytes(), b"new");
        again.replace(&bundle, "newer").unwrap();
        assert_eq!(open(dir.path()).unwrap().bytes(), b"newer");
    }

    #[test]
    fn links_fifos_and_giants_are_refused() {
        let dir = bundle("x");
        std::os::unix::fs::symlink("config.json", dir.path().join("link")).unwrap();
        nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        File::create(dir.path().join("giant"))
            .unwrap()
            .set_len(MAX + 1)
            .unwrap();
        for name in ["link", "fifo", "giant", "none", "."] {
            assert!(
                BundleFile::config(&dir.path().join(name)).is_err(),
                "{name}"
            );
        }
    }
}

//! The real path of a directory, and calls that start from the directory itself: the kernel then does
//! not walk the path again, and those of engines are long.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What the kernel adds to the path of a directory that was removed (`d_path()`, fs/d_path.c).
const REMOVED: &[u8] = b" (deleted)";

/// A directory that is open, and its path without symbolic links, `.` and `..`.
#[derive(Debug)]
pub struct RealDirectory {
    path: PathBuf,
    /// Opened with O_PATH.
    descriptor: File,
}

impl RealDirectory {
    /// Opens a directory.
    ///
    /// realpath(3) makes a system call for each component, and the bundles and roots of engines have
    /// many. The kernel knows the path of an open directory.
    ///
    /// # Errors
    /// Those of open(2) and realpath(3).
    pub fn open(directory: &Path) -> io::Result<Self> {
        let descriptor = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(directory)?;
        let path = match fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd())) {
            Ok(real) if is_usable(&real) => real,
            // There is no /proc, or the directory is not below our root directory.
            _ => fs::canonicalize(directory)?,
        };
        Ok(Self { path, descriptor })
    }

    /// Its real path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is left of `path` from this directory on, if it is written below it; otherwise `path`. Both
    /// lead to the same file from here.
    pub(crate) fn relative<'p>(&self, path: &'p Path) -> &'p Path {
        let directory = self.path.as_os_str().as_bytes();
        let rest = path.as_os_str().as_bytes().strip_prefix(directory);
        match rest.and_then(|rest| rest.strip_prefix(b"/")) {
            Some(rest @ [first, ..]) if *first != b'/' => Path::new(OsStr::from_bytes(rest)),
            _ => path,
        }
    }
}

impl AsFd for RealDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The real path of a directory.
///
/// # Errors
/// As for [`RealDirectory::open`].
pub fn of(directory: &Path) -> io::Result<PathBuf> {
    RealDirectory::open(directory).map(|real| real.path)
}

fn is_usable(real: &Path) -> bool {
    real.is_absolute() && !real.as_os_str().as_encoded_bytes().ends_with(REMOVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_realpath() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("a/b (deleted)");
        fs::create_dir_all(&real).unwrap();
        fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        std::os::unix::fs::symlink("a/b", dir.path().join("link")).unwrap();
        for path in [
            "",
            ".",
            "a/./b",
            "link",
            "link/..",
            "a/b/c/../../b (deleted)",
            "link/c//",
        ] {
            let path = dir.path().join(path);
            assert_eq!(
                of(&path).unwrap(),
                fs::canonicalize(&path).unwrap(),
                "{path:?}"
            );
        }
        fs::write(dir.path().join("file"), "").unwrap();
        for path in ["file", "none", "a/b/c/d"] {
            assert!(of(&dir.path().join(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn a_path_below_a_directory_starts_there() {
        let dir = tempfile::tempdir().unwrap();
        let open = RealDirectory::open(dir.path()).unwrap();
        let relative = |path: &str| {
            let path = path.replace("DIR", open.path().to_str().unwrap());
            open.relative(Path::new(&path)).to_str().unwrap().to_owned()
        };
        assert_eq!(relative("DIR/config.json"), "config.json");
        assert_eq!(relative("DIR/rootfs/proc"), "rootfs/proc");
        assert_eq!(relative("rootfs"), "rootfs");
        for other in ["/etc", "DIR", "DIR/", "DIR//etc", "DIRS/x"] {
            let same = other.replace("DIR", open.path().to_str().unwrap());
            assert_eq!(relative(other), same, "{other}");
        }
    }
}

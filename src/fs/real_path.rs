//! The real path of a directory.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What the kernel adds to the path of a directory that was removed (`d_path()`, fs/d_path.c).
const REMOVED: &[u8] = b" (deleted)";

/// The path of a directory without symbolic links, `.` and `..`.
///
/// realpath(3) makes a system call for each component, and the bundles and roots of engines have many.
/// The kernel knows the path of an open directory.
///
/// # Errors
/// Those of open(2) and realpath(3).
pub fn of(directory: &Path) -> io::Result<PathBuf> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open(directory)?;
    match fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd())) {
        Ok(real) if is_usable(&real) => Ok(real),
        // There is no /proc, or the directory is not below our root directory.
        _ => fs::canonicalize(directory),
    }
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
}

//! The files of AppArmor in sysfs, and the revision of the loaded policy.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// AppArmor as this process sees it, in its policy namespace.
#[derive(Debug, Clone)]
pub struct Kernel {
    pub(super) securityfs: PathBuf,
    pub(super) parameters: PathBuf,
}

impl Default for Kernel {
    fn default() -> Self {
        Self::below(Path::new("/sys"))
    }
}

impl Kernel {
    /// The kernel whose sysfs is mounted at `sys`.
    #[must_use]
    pub fn below(sys: &Path) -> Self {
        Self {
            securityfs: sys.join("kernel/security/apparmor"),
            parameters: sys.join("module/apparmor/parameters"),
        }
    }

    /// The directory that lists what this kernel can enforce. Compiled policy depends on it.
    #[must_use]
    pub fn features(&self) -> PathBuf {
        self.securityfs.join("features")
    }

    pub(super) fn profiles(&self) -> PathBuf {
        self.securityfs.join("policy/profiles")
    }

    /// The revision of the loaded policy; every load, replacement and removal increases it.
    ///
    /// A second read of one open file blocks until the revision changes, and even the first read
    /// blocks before the first load (`ns_revision_read()`, security/apparmor/apparmorfs.c). So the
    /// file is opened for each read, without blocking.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        revision_in(&self.revision_file()?)
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

/// The revision in [`Kernel::revision_file`]; `None` if it has not changed since the last read.
#[must_use]
pub fn revision_in(file: &File) -> Option<u64> {
    let mut number = [0; 32];
    let length = file.read_at(&mut number, 0).ok()?;
    let text = std::str::from_utf8(number.get(..length)?).ok()?;
    text.trim().parse().ok()
}

/// The first line of a small kernel file; `None` if it does not exist.
///
/// securityfs returns such a file completely in the first read (`seq_read()`).
pub(super) fn line(path: &Path) -> Option<String> {
    read_line(path).ok()
}

/// Like [`line`], with the error.
pub(super) fn read_line(path: &Path) -> io::Result<String> {
    let mut bytes = [0; 1024];
    let length = File::open(path)?.read(&mut bytes)?;
    let text = bytes.get(..length).filter(|_| length < bytes.len());
    let text = text.and_then(|text| std::str::from_utf8(text).ok());
    let text = text.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::fs;

    /// A sysfs with AppArmor enabled and these profiles: directory, name and mode.
    pub(crate) fn sys(profiles: &[(&str, &str, &str)]) -> (tempfile::TempDir, Kernel) {
        let dir = tempfile::tempdir().unwrap();
        let kernel = Kernel::below(dir.path());
        fs::create_dir_all(&kernel.parameters).unwrap();
        fs::write(kernel.parameters.join("enabled"), "Y\n").unwrap();
        fs::write(kernel.parameters.join("mode"), "enforce\n").unwrap();
        fs::create_dir_all(kernel.profiles()).unwrap();
        for (directory, name, mode) in profiles {
            let d = kernel.profiles().join(directory);
            fs::create_dir_all(&d).unwrap();
            fs::write(d.join("name"), format!("{name}\n")).unwrap();
            fs::write(d.join("mode"), format!("{mode}\n")).unwrap();
        }
        (dir, kernel)
    }
}

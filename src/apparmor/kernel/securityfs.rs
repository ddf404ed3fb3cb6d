//! The files of AppArmor in sysfs.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::apparmor::kernel::revision::{self, LastRevision, Revision};

/// AppArmor as this process sees it, in its policy namespace.
#[derive(Debug)]
pub struct Kernel {
    pub(super) securityfs: PathBuf,
    pub(super) parameters: PathBuf,
    last_revision: LastRevision,
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
            last_revision: LastRevision::default(),
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

    /// Whether the kernel's files are there, which it creates only if AppArmor is on
    /// (`aa_create_aafs()`, security/apparmor/apparmorfs.c).
    pub(super) fn has_files(&self) -> bool {
        self.last_revision.is_known() || self.profiles().is_dir()
    }

    /// The revision of the loaded policy; `None` if the kernel has no such file.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        self.last_revision.now(&self.revision_path())
    }

    /// The revision file, for poll(2): it is readable when the revision differs from the one that
    /// was last read from it (`ns_revision_poll()`).
    #[must_use]
    pub fn revision_file(&self) -> Option<File> {
        revision::open(&self.revision_path())
    }

    fn revision_path(&self) -> PathBuf {
        self.securityfs.join("revision")
    }
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

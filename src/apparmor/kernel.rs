//! The kernel's AppArmor: whether it enforces, what it understands, and how policy gets in.
//!
//! A write that succeeded proves nothing here; what counts is what is read back, which is the
//! business of [`loaded`](crate::apparmor::loaded).

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::apparmor::loaded::line;
use crate::apparmor::name::ProfileName;
use crate::error::{Error, Kind, Result, reason};

/// Whether the kernel enforces profiles at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enforcement {
    /// It does.
    On,
    /// It does not; why.
    Off(String),
}

/// The kernel's AppArmor, as seen from this policy namespace.
#[derive(Debug, Clone)]
pub struct Kernel {
    pub(super) securityfs: PathBuf,
    parameters: PathBuf,
}

impl Default for Kernel {
    fn default() -> Self {
        Self::below(Path::new("/sys"))
    }
}

impl Kernel {
    /// The kernel whose sysfs is at `sys`.
    #[must_use]
    pub fn below(sys: &Path) -> Self {
        Self {
            securityfs: sys.join("kernel/security/apparmor"),
            parameters: sys.join("module/apparmor/parameters"),
        }
    }

    /// Whether profiles are enforced.
    ///
    /// With the global mode at `complain` every profile still reads `(enforce)` and nothing is
    /// denied (`PROFILE_MODE()`, security/apparmor/include/policy.h), so it is asked first.
    #[must_use]
    pub fn enforcement(&self) -> Enforcement {
        let off = |why: &str| Enforcement::Off(why.to_owned());
        match fs::read_to_string(self.parameters.join("enabled")) {
            Ok(text) if text.starts_with('Y') => {}
            Ok(_) => return off("AppArmor is off in this kernel (it was booted without it)"),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return off("this kernel has no AppArmor");
            }
            Err(e) => {
                return off(&format!(
                    "cannot tell whether AppArmor is on: {}",
                    reason(&e)
                ));
            }
        }
        if !self.securityfs.join("policy/profiles").is_dir() {
            return off("AppArmor is on, but securityfs is not mounted on /sys/kernel/security");
        }
        match fs::read_to_string(self.parameters.join("mode")) {
            Ok(mode) => match mode.trim() {
                "enforce" | "kill" => Enforcement::On,
                mode => Enforcement::Off(format!(
                    "AppArmor's global mode is {mode:?}: no profile is enforced on this node"
                )),
            },
            // The parameter is readable by root only (0600); who cannot read it cannot load either.
            Err(_) if may_load().is_err() => Enforcement::On,
            Err(e) => off(&format!(
                "cannot read AppArmor's global mode: {}",
                reason(&e)
            )),
        }
    }

    /// Writes one compiled profile set to the kernel, replacing what it names.
    ///
    /// The kernel takes a whole buffer in one write or nothing (security/apparmor/apparmorfs.c).
    ///
    /// # Errors
    /// [`Kind::Internal`] with the kernel's answer.
    pub fn replace(&self, blob: &[u8]) -> Result<()> {
        self.manage(".replace", "load the profile", blob)
    }

    /// Removes a profile and its children. Every process under it turns unconfined, for good.
    ///
    /// # Errors
    /// [`Kind::Internal`] with the kernel's answer.
    pub fn remove(&self, name: &ProfileName) -> Result<()> {
        self.manage(".remove", "remove the profile", name.as_str().as_bytes())
    }

    fn manage(&self, file: &str, what: &str, bytes: &[u8]) -> Result<()> {
        let path = self.securityfs.join(file);
        let refused = |e: &io::Error| {
            let why = match e.raw_os_error() {
                Some(libc::EPROTO | libc::EPROTONOSUPPORT) => {
                    "it does not understand the compiled policy".to_owned()
                }
                Some(libc::EACCES | libc::EPERM) => {
                    "policy is locked, or CAP_MAC_ADMIN is missing".to_owned()
                }
                _ => reason(e),
            };
            Error::new(
                Kind::Internal,
                format!("the kernel refused to {what}: {why}"),
            )
            .hint("run: oci-apparmor check")
        };
        // Opened and written in one credential state: the kernel compares the opener with the
        // writer (aa_may_manage_policy, the fix of CVE-2026-23268).
        let mut file = File::options()
            .write(true)
            .open(&path)
            .map_err(|e| refused(&e))?;
        match file.write(bytes) {
            Ok(n) if n == bytes.len() && n > 0 => Ok(()),
            Ok(n) => Err(refused(&io::Error::other(format!(
                "it took {n} of {} bytes",
                bytes.len()
            )))),
            Err(e) => Err(refused(&e)),
        }
    }

    /// Whether this kernel reads compiled policy of this version; where it does not say, yes.
    #[must_use]
    pub fn reads_policy_version(&self, version: u32) -> bool {
        let versions = self.securityfs.join("features/policy/versions");
        !versions.is_dir() || line(&versions.join(format!("v{version}"))).as_deref() == Some("yes")
    }

    /// Where this kernel says what it can enforce, which compiled policy depends on.
    #[must_use]
    pub fn features(&self) -> PathBuf {
        self.securityfs.join("features")
    }

    pub(super) fn profiles(&self) -> PathBuf {
        self.securityfs.join("policy/profiles")
    }

    /// The number that every load, replace and removal raises.
    ///
    /// A read waits for the next change once the present value was read, and from the beginning
    /// while nothing was ever loaded (`ns_revision_read()`, apparmorfs.c): read once, and do not
    /// wait.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        revision_in(&self.revision_file()?)
    }

    /// The file of that number. It can be polled: it is readable when the number is another one
    /// than was last read of this file (`ns_revision_poll()`).
    #[must_use]
    pub fn revision_file(&self) -> Option<File> {
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        options.open(self.securityfs.join("revision")).ok()
    }
}

/// The number in the file of [`Kernel::revision_file`]; nothing where it is still the one that was
/// last read.
#[must_use]
pub fn revision_in(file: &File) -> Option<u64> {
    let mut number = [0; 32];
    let length = file.read_at(&mut number, 0).ok()?;
    let text = std::str::from_utf8(number.get(..length)?).ok()?;
    text.trim().parse().ok()
}

/// A digest of the names and contents of a tree of small files.
///
/// # Errors
/// Where it cannot be read.
pub fn digest(tree: &Path) -> Result<[u8; 32]> {
    let mut digest = Sha256::new();
    add_tree(tree, &mut digest)?;
    Ok(digest.finalize().into())
}

/// Adds the names and contents of a tree of small files.
fn add_tree(directory: &Path, digest: &mut Sha256) -> Result<()> {
    let failed = |e: &io::Error| Error::io("read", directory, e);
    let entries: io::Result<Vec<_>> = fs::read_dir(directory).and_then(Iterator::collect);
    let mut entries = entries.map_err(|e| failed(&e))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        if entry.file_type().map_err(|e| failed(&e))?.is_dir() {
            digest.update([b'd']);
            digest.update(name.as_encoded_bytes());
            digest.update([0]);
            add_tree(&path, digest)?;
            digest.update([b'/']);
        } else {
            let bytes = fs::read(&path).map_err(|e| Error::io("read", &path, &e))?;
            digest.update([b'f']);
            digest.update(name.as_encoded_bytes());
            digest.update([0]);
            digest.update(Sha256::digest(&bytes));
        }
    }
    Ok(())
}

/// Whether this process can load policy that the whole node sees; else why not.
///
/// # Errors
/// The reason, as a clause.
pub fn may_load() -> std::result::Result<(), String> {
    // Credentials are never changed here.
    static MAY: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    MAY.get_or_init(look_whether_we_may).clone()
}

fn look_whether_we_may() -> std::result::Result<(), String> {
    if !in_initial_namespace() {
        return Err("inside a user namespace nothing can be loaded".to_owned());
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("only root can load profiles".to_owned());
    }
    match caps::has_cap(
        None,
        caps::CapSet::Effective,
        caps::Capability::CAP_MAC_ADMIN,
    ) {
        Ok(true) => Ok(()),
        _ => Err("CAP_MAC_ADMIN is missing".to_owned()),
    }
}

/// Whether this process is in the initial user namespace, the only one with every uid.
#[must_use]
pub fn in_initial_namespace() -> bool {
    // A process can only leave it by unshare(2) or setns(2), which this one never calls.
    static INITIAL: OnceLock<bool> = OnceLock::new();
    *INITIAL.get_or_init(|| {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        map.split_whitespace().eq(["0", "0", "4294967295"])
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A sysfs with AppArmor on and the given directories below `policy/profiles`.
    pub(in crate::apparmor) fn sys(profiles: &[(&str, &str, &str)]) -> (tempfile::TempDir, Kernel) {
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

    #[test]
    fn the_kernel_enforces_only_when_all_says_so() {
        let (_d, kernel) = sys(&[]);
        assert_eq!(kernel.enforcement(), Enforcement::On);
        for mode in ["complain", "unconfined", "", "new"] {
            fs::write(kernel.parameters.join("mode"), mode).unwrap();
            assert!(
                matches!(kernel.enforcement(), Enforcement::Off(_)),
                "{mode}"
            );
        }
        fs::write(kernel.parameters.join("mode"), "kill\n").unwrap();
        assert_eq!(kernel.enforcement(), Enforcement::On);
        fs::remove_dir_all(&kernel.securityfs).unwrap();
        assert!(matches!(kernel.enforcement(), Enforcement::Off(_)));
        fs::write(kernel.parameters.join("enabled"), "N\n").unwrap();
        assert!(matches!(kernel.enforcement(), Enforcement::Off(_)));
        fs::remove_dir_all(&kernel.parameters).unwrap();
        assert!(matches!(kernel.enforcement(), Enforcement::Off(_)));
    }
}

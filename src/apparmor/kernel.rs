//! The kernel's AppArmor: whether it enforces, what it understands, and how policy gets in.
//!
//! A write that succeeded proves nothing here; what counts is what is read back, which is the
//! business of [`loaded`](crate::apparmor::loaded).

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::apparmor::loaded::line;
use crate::apparmor::name::ProfileName;
use crate::error::{Error, Kind, Result, reason};
use crate::user_namespace;

/// Whether the kernel enforces profiles at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enforcement {
    /// It does.
    On,
    /// It does not.
    Off(Off),
}

/// Why the kernel enforces no profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Off {
    /// It was built without AppArmor.
    NotBuiltIn,
    /// It was booted without AppArmor.
    NotBooted,
    /// Its files are not where they are looked for.
    NoSecurityfs,
    /// Its global mode (`/sys/module/apparmor/parameters/mode`) is another one than `enforce` or
    /// `kill`.
    GlobalMode(String),
    /// One of its files cannot be read; the reason.
    Unreadable(String),
}

impl Off {
    /// What an administrator can run, or has to do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotBuiltIn => "boot a kernel that has AppArmor",
            Self::NotBooted => "boot with the kernel parameters: apparmor=1 security=apparmor",
            Self::NoSecurityfs => "run: mount -t securityfs securityfs /sys/kernel/security",
            Self::GlobalMode(_) => "run: printf enforce > /sys/module/apparmor/parameters/mode",
            Self::Unreadable(_) => "run: oci-apparmor check",
        }
    }

    /// The refusal of what needs AppArmor.
    #[must_use]
    pub fn error(&self) -> Error {
        Error::new(Kind::KernelOff, self.to_string()).with_remedy(self.remedy())
    }
}

impl fmt::Display for Off {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuiltIn => f.write_str("this kernel has no AppArmor"),
            Self::NotBooted => f.write_str("AppArmor is off: the kernel was booted without it"),
            Self::NoSecurityfs => {
                f.write_str("AppArmor is on, but securityfs is not mounted on /sys/kernel/security")
            }
            Self::GlobalMode(mode) => write!(
                f,
                "the global mode of AppArmor is {mode:?}: no profile is enforced on this node"
            ),
            Self::Unreadable(why) => write!(f, "cannot tell whether AppArmor enforces: {why}"),
        }
    }
}

/// Why this process cannot load policy for the whole node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CannotLoad {
    /// It is in a user namespace; only the initial one may.
    UserNamespace,
    /// It is not root.
    NotRoot,
    /// It lacks CAP_MAC_ADMIN.
    NoCapability,
}

impl fmt::Display for CannotLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UserNamespace => "no profile can be loaded inside a user namespace",
            Self::NotRoot => "only root can load profiles",
            Self::NoCapability => "CAP_MAC_ADMIN, which loading profiles needs, is missing",
        })
    }
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
        let unreadable = |e: &io::Error| Enforcement::Off(Off::Unreadable(reason(e)));
        match fs::read_to_string(self.parameters.join("enabled")) {
            Ok(text) if text.starts_with('Y') => {}
            Ok(_) => return Enforcement::Off(Off::NotBooted),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Enforcement::Off(Off::NotBuiltIn);
            }
            Err(e) => return unreadable(&e),
        }
        if !self.securityfs.join("policy/profiles").is_dir() {
            return Enforcement::Off(Off::NoSecurityfs);
        }
        match fs::read_to_string(self.parameters.join("mode")) {
            Ok(mode) => match mode.trim() {
                "enforce" | "kill" => Enforcement::On,
                mode => Enforcement::Off(Off::GlobalMode(mode.to_owned())),
            },
            // The parameter is readable by root only (0600); who cannot read it cannot load either.
            Err(_) if may_load().is_err() => Enforcement::On,
            Err(e) => unreadable(&e),
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
            .with_remedy("run: oci-apparmor check")
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
/// Why not.
pub fn may_load() -> std::result::Result<(), CannotLoad> {
    // Credentials are never changed here.
    static MAY: OnceLock<std::result::Result<(), CannotLoad>> = OnceLock::new();
    *MAY.get_or_init(look_whether_we_may)
}

fn look_whether_we_may() -> std::result::Result<(), CannotLoad> {
    if !user_namespace::is_initial() {
        return Err(CannotLoad::UserNamespace);
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(CannotLoad::NotRoot);
    }
    match caps::has_cap(
        None,
        caps::CapSet::Effective,
        caps::Capability::CAP_MAC_ADMIN,
    ) {
        Ok(true) => Ok(()),
        _ => Err(CannotLoad::NoCapability),
    }
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

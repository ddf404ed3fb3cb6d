//! What the kernel holds: whether AppArmor enforces, which profiles are loaded and how.
//!
//! Everything is read from securityfs and from the module's parameters. A write that succeeded
//! proves nothing here; what counts is what is read back.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::apparmor::name::ProfileName;
use crate::error::{Error, Kind, Result, reason};
use crate::trusted;

/// The mode of a loaded profile, as `policy/profiles/*/mode` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What the profile does not allow is refused.
    Enforce,
    /// What the profile does not allow is logged, and happens.
    Complain,
    /// What the profile does not allow kills the process.
    Kill,
    /// The profile confines nothing (`flags=(unconfined)`, `flags=(default_allow)`).
    Unconfined,
    /// The profile asks a person (`flags=(prompt)`), or the kernel says something new.
    User,
}

impl Mode {
    /// Whether the profile confines.
    #[must_use]
    pub fn enforces(self) -> bool {
        matches!(self, Self::Enforce | Self::Kill)
    }

    fn parse(text: &str) -> Self {
        match text {
            "enforce" => Self::Enforce,
            "complain" => Self::Complain,
            "kill" => Self::Kill,
            "unconfined" => Self::Unconfined,
            _ => Self::User,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enforce => "enforce",
            Self::Complain => "complain",
            Self::Kill => "kill",
            Self::Unconfined => "unconfined",
            Self::User => "user",
        })
    }
}

/// A profile in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its directory below `policy/profiles/`. The number at its end is never used twice: a
    /// profile that was removed and loaded again has another one.
    pub directory: String,
    /// Its mode.
    pub mode: Mode,
}

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
    securityfs: PathBuf,
    parameters: PathBuf,
}

impl Default for Kernel {
    fn default() -> Self {
        Self::at(Path::new("/sys"))
    }
}

impl Kernel {
    /// The kernel whose sysfs is at `sys`.
    #[must_use]
    pub fn at(sys: &Path) -> Self {
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

    /// The loaded profile of this name.
    ///
    /// Finds its directory by the kernel's own mangling of names and confirms it by its `name`
    /// file; the `profiles` list, which takes a lock and grows with every profile, is never read.
    ///
    /// # Errors
    /// Where the kernel's tree cannot be read, or shows the name twice.
    pub fn loaded(&self, name: &ProfileName) -> Result<Option<Loaded>> {
        // A profile may come or go while its directory is listed; the revision tells.
        for _ in 0..16 {
            let before = self.revision();
            let found = self.find(name)?;
            if found.is_some() || before == self.revision() {
                return Ok(found);
            }
        }
        Err(Error::new(
            Kind::Internal,
            format!("the kernel's profiles keep changing while {name} is looked up"),
        )
        .hint("try again"))
    }

    /// Whether `loaded` is still the very profile that it was.
    #[must_use]
    pub fn still(&self, name: &ProfileName, loaded: &Loaded) -> bool {
        let directory = self.profiles().join(&loaded.directory);
        let last = name.as_str().rsplit("//").next().unwrap_or_default();
        line(&directory.join("name")).as_deref() == Some(last)
            && line(&directory.join("mode")).is_some_and(|m| Mode::parse(&m) == loaded.mode)
    }

    /// Writes one compiled profile set to the kernel, replacing what it names.
    ///
    /// The kernel takes a whole buffer in one write or nothing (security/apparmor/apparmorfs.c).
    ///
    /// # Errors
    /// [`Kind::Internal`] with the kernel's answer.
    pub fn replace(&self, blob: &[u8]) -> Result<()> {
        let path = self.securityfs.join(".replace");
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
                format!("the kernel refused to load the profile: {why}"),
            )
            .hint("run: oci-apparmor check")
        };
        // Opened and written in one credential state: the kernel compares the opener with the
        // writer (aa_may_manage_policy, the fix of CVE-2026-23268).
        let mut file = File::options()
            .write(true)
            .open(&path)
            .map_err(|e| refused(&e))?;
        match file.write(blob) {
            Ok(n) if n == blob.len() && n > 0 => Ok(()),
            Ok(n) => Err(refused(&io::Error::other(format!(
                "it took {n} of {} bytes",
                blob.len()
            )))),
            Err(e) => Err(refused(&e)),
        }
    }

    fn profiles(&self) -> PathBuf {
        self.securityfs.join("policy/profiles")
    }

    /// The number that every load, replace and removal raises.
    ///
    /// A read waits for the next change once the present value was read, and from the beginning
    /// while nothing was ever loaded (`ns_revision_read()`, apparmorfs.c): read once, and do not
    /// wait.
    fn revision(&self) -> Option<Vec<u8>> {
        let mut file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(self.securityfs.join("revision"))
            .ok()?;
        let mut number = [0; 32];
        let length = file.read(&mut number).ok()?;
        number.get(..length).map(<[u8]>::to_vec)
    }

    fn find(&self, name: &ProfileName) -> Result<Option<Loaded>> {
        let mut inside = self.profiles();
        let mut directory = PathBuf::new();
        for (depth, part) in name.as_str().split("//").enumerate() {
            if depth > 0 {
                directory.push("profiles");
                inside.push("profiles");
            }
            let Some(entry) = entry_of(&inside, part)? else {
                return Ok(None);
            };
            directory.push(&entry);
            inside.push(&entry);
        }
        let Some(mode) = line(&inside.join("mode")) else {
            return Ok(None);
        };
        let directory = directory.to_string_lossy().into_owned();
        Ok(Some(Loaded {
            directory,
            mode: Mode::parse(&mode),
        }))
    }
}

/// The entry below `inside` that stands for the profile (or child) called `part`.
fn entry_of(inside: &Path, part: &str) -> Result<Option<String>> {
    let entries = match fs::read_dir(inside) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("list", inside, &e)),
    };
    let stem = mangled(part);
    let mut found = None;
    for entry in entries {
        let entry = entry
            .map_err(|e| Error::io("list", inside, &e))?
            .file_name();
        let Some(text) = entry.to_str() else { continue };
        let numbered = text
            .strip_prefix(&stem)
            .and_then(|rest| rest.strip_prefix('.'));
        if !numbered.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) {
            continue;
        }
        if line(&inside.join(text).join("name")).as_deref() != Some(part) {
            continue;
        }
        // The kernel accepts one blob that declares a name twice and then holds both.
        if found.replace(text.to_owned()).is_some() {
            return Err(Error::new(
                Kind::Internal,
                format!("the kernel holds two profiles named {part}"),
            )
            .hint("reboot the node: the kernel cannot tell them apart"));
        }
    }
    Ok(found)
}

/// The kernel's directory name for a profile, without its number (`mangle_name()`, apparmorfs.c).
fn mangled(name: &str) -> String {
    name.trim_start_matches(['/', '.'])
        .chars()
        .filter_map(|c| match c {
            '/' => Some('.'),
            c if c.is_ascii_whitespace() => Some('_'),
            c if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') => Some(c),
            _ => None,
        })
        .collect()
}

/// The first line of a small kernel file; `None` where it is gone.
fn line(path: &Path) -> Option<String> {
    let bytes = trusted::bounded(&File::open(path).ok()?, 4096).ok()??;
    Some(
        String::from_utf8(bytes)
            .ok()?
            .trim_end_matches('\n')
            .to_owned(),
    )
}

/// Whether this process can load policy that the whole node sees; else why not.
///
/// # Errors
/// The reason, as a clause.
pub fn may_load() -> std::result::Result<(), String> {
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
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sysfs with AppArmor on and the given directories below `policy/profiles`.
    fn sys(profiles: &[(&str, &str, &str)]) -> (tempfile::TempDir, Kernel) {
        let dir = tempfile::tempdir().unwrap();
        let kernel = Kernel::at(dir.path());
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

    fn name(text: &str) -> ProfileName {
        ProfileName::parse(text).unwrap()
    }

    #[test]
    fn profiles_are_found_by_name_not_by_directory() {
        let (_d, kernel) = sys(&[
            ("foo.bar.14", "foo.bar", "enforce"),
            ("foo.bar.15", "foo/bar", "complain"),
            ("foo.16", "foo", "kill"),
            ("foo.bar.x", "foo.bar", "enforce"),
            ("foo.16/profiles/child.17", "child", "enforce"),
        ]);
        let found = |n: &str| {
            kernel
                .loaded(&name(n))
                .unwrap()
                .map(|l| (l.directory, l.mode))
        };
        assert_eq!(found("foo.bar"), Some(("foo.bar.14".into(), Mode::Enforce)));
        assert_eq!(
            found("foo/bar"),
            Some(("foo.bar.15".into(), Mode::Complain))
        );
        assert_eq!(found("foo"), Some(("foo.16".into(), Mode::Kill)));
        assert_eq!(
            found("foo//child"),
            Some(("foo.16/profiles/child.17".into(), Mode::Enforce))
        );
        assert_eq!(found("foo.ba"), None);
        assert_eq!(found("foo//other"), None);
    }

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        let (_d, kernel) = sys(&[("p.1", "p", "enforce"), ("p.2", "p", "complain")]);
        assert!(kernel.loaded(&name("p")).is_err());
    }

    #[test]
    fn a_removed_or_relaxed_profile_is_not_still_the_same() {
        let (_d, kernel) = sys(&[("p.1", "p", "enforce")]);
        let loaded = kernel.loaded(&name("p")).unwrap().unwrap();
        assert!(kernel.still(&name("p"), &loaded));
        fs::write(kernel.profiles().join("p.1/mode"), "complain\n").unwrap();
        assert!(!kernel.still(&name("p"), &loaded));
        fs::rename(kernel.profiles().join("p.1"), kernel.profiles().join("p.2")).unwrap();
        assert!(!kernel.still(&name("p"), &loaded));
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

    #[test]
    fn names_are_mangled_as_the_kernel_does() {
        for (name, directory) in [
            ("/usr/bin/foo", "usr.bin.foo"),
            ("k8s.io/foo-bar_1", "k8s.io.foo-bar_1"),
            ("weird+(n)ame@1", "weirdname1"),
            ("..dots", "dots"),
        ] {
            assert_eq!(mangled(name), directory);
        }
    }
}

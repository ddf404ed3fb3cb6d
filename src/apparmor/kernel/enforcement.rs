//! Whether the kernel enforces profiles.

use std::fmt;
use std::io;

use crate::apparmor::kernel::permission::may_load;
use crate::apparmor::kernel::securityfs::{Kernel, read_line};
use crate::error::{Error, Kind, reason};

/// Whether the kernel enforces profiles.
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
    /// securityfs is not mounted.
    NoSecurityfs,
    /// Its global mode (`/sys/module/apparmor/parameters/mode`) is neither `enforce` nor `kill`.
    GlobalMode(String),
    /// One of its files cannot be read; contains the reason.
    Unreadable(String),
}

impl Off {
    /// What an administrator can do.
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

    /// The refusal of a request that needs AppArmor.
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

impl Kernel {
    /// Whether profiles are enforced.
    ///
    /// In the global mode `complain` nothing is denied, but every profile still shows `(enforce)`
    /// (`PROFILE_MODE()`, security/apparmor/include/policy.h). So the global mode is read first.
    #[must_use]
    pub fn enforcement(&self) -> Enforcement {
        let unreadable = |e: &io::Error| Enforcement::Off(Off::Unreadable(reason(e)));
        if !self.has_files() {
            return Enforcement::Off(match read_line(&self.parameters.join("enabled")) {
                Ok(text) if text.starts_with('Y') => Off::NoSecurityfs,
                Ok(_) => Off::NotBooted,
                Err(e) if e.kind() == io::ErrorKind::NotFound => Off::NotBuiltIn,
                Err(e) => Off::Unreadable(reason(&e)),
            });
        }
        match read_line(&self.parameters.join("mode")) {
            Ok(mode) => match mode.trim() {
                "enforce" | "kill" => Enforcement::On,
                mode => Enforcement::Off(Off::GlobalMode(mode.to_owned())),
            },
            // Only root can read the parameter (0600), and only root can load profiles.
            Err(_) if may_load().is_err() => Enforcement::On,
            Err(e) => unreadable(&e),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::apparmor::kernel::securityfs::tests::sys;

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

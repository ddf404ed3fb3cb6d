//! What AppArmor reports in the kernel's log, for all profiles: the parameter `audit`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use crate::apparmor::kernel::securityfs::Kernel;
use crate::error::{Error, Kind, Result};

/// The value of the parameter `audit` (`audit_mode_names`, security/apparmor/audit.c). Any value but
/// [`AuditMode::Normal`] overrides what a profile says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditMode {
    /// What the profiles say. Explicit `deny` rules are not reported.
    Normal,
    /// Nothing that a profile refuses is reported.
    QuietDenied,
    /// Nothing is reported.
    Quiet,
    /// What explicit `deny` rules refuse is reported as well.
    NoQuiet,
    /// Every access is reported, also those that are allowed.
    All,
}

impl AuditMode {
    const ALL: [Self; 5] = [
        Self::Normal,
        Self::QuietDenied,
        Self::Quiet,
        Self::NoQuiet,
        Self::All,
    ];

    /// The kernel's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::QuietDenied => "quiet_denied",
            Self::Quiet => "quiet",
            Self::NoQuiet => "noquiet",
            Self::All => "all",
        }
    }

    /// The mode with this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }

    /// Whether denials are kept out of the log.
    #[must_use]
    pub fn hides_denials(self) -> bool {
        matches!(self, Self::QuietDenied | Self::Quiet)
    }
}

impl Kernel {
    /// The file of the parameter `audit`.
    #[must_use]
    pub fn audit_parameter(&self) -> PathBuf {
        self.parameters.join("audit")
    }

    /// The value of the parameter `audit`. Only root can read it.
    ///
    /// # Errors
    /// If it cannot be read, or has a value that is not known.
    pub fn audit_mode(&self) -> Result<AuditMode> {
        let path = self.audit_parameter();
        let text = fs::read_to_string(&path).map_err(|e| Error::io("read", &path, &e))?;
        let word = text.trim_end();
        AuditMode::named(word).ok_or_else(|| {
            let why = format!("{} has the unknown value {word:?}", path.display());
            Error::new(Kind::Internal, why)
                .with_remedy(format!("run: printf normal > {}", path.display()))
        })
    }

    /// Sets the parameter `audit`, and reads it back.
    ///
    /// # Errors
    /// If the kernel refuses it: it needs CAP_MAC_ADMIN.
    pub fn set_audit_mode(&self, mode: AuditMode) -> Result<()> {
        let path = self.audit_parameter();
        // The kernel compares the whole write, without a line end (`param_set_audit()`, lsm.c).
        let write = || -> io::Result<()> {
            let mut file = File::options().write(true).open(&path)?;
            file.write_all(mode.as_str().as_bytes())
        };
        write().map_err(|e| {
            Error::io("write", &path, &e).with_remedy("run this command as root on the host")
        })?;
        match self.audit_mode()? {
            now if now == mode => Ok(()),
            now => Err(Error::new(
                Kind::Internal,
                format!(
                    "{} is {} although {} was written",
                    path.display(),
                    now.as_str(),
                    mode.as_str()
                ),
            )
            .with_remedy("run: oci-apparmor check")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apparmor::kernel::securityfs::tests::sys;

    #[test]
    fn each_mode_is_written_and_read_back() {
        let (_d, kernel) = sys(&[]);
        assert!(kernel.set_audit_mode(AuditMode::All).is_err(), "no file");
        for mode in AuditMode::ALL {
            fs::write(kernel.audit_parameter(), "").unwrap();
            kernel.set_audit_mode(mode).unwrap();
            let text = fs::read_to_string(kernel.audit_parameter()).unwrap();
            assert_eq!(text, mode.as_str());
            // The kernel prints it with a line end.
            fs::write(kernel.audit_parameter(), format!("{text}\n")).unwrap();
            assert_eq!(kernel.audit_mode().unwrap(), mode);
        }
        fs::write(kernel.audit_parameter(), "loud\n").unwrap();
        assert!(kernel.audit_mode().is_err());
    }
}

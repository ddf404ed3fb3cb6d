//! What AppArmor did about an access.

/// What a record reports (`aa_audit_type`, security/apparmor/audit.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It refused the access.
    Denied,
    /// It allowed the access, because the profile is in complain mode.
    Allowed,
    /// It killed the process (a profile in kill mode).
    Killed,
    /// It allowed the access and reported it, because of an `audit` rule.
    Audited,
    /// A profile was loaded, replaced or removed.
    Status,
    /// A change of the label, with which complain mode follows a program.
    Hint,
    /// AppArmor failed.
    Error,
}

impl Verdict {
    /// The word for it in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Allowed => "allowed",
            Self::Killed => "killed",
            Self::Audited => "audited",
            Self::Status => "status",
            Self::Hint => "hint",
            Self::Error => "error",
        }
    }

    /// Whether it is about an access of a process.
    #[must_use]
    pub fn is_access(self) -> bool {
        match self {
            Self::Denied | Self::Allowed | Self::Killed | Self::Audited => true,
            Self::Status | Self::Hint | Self::Error => false,
        }
    }

    /// The verdict that the kernel, or a D-Bus daemon, writes as this word.
    pub(crate) fn of(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"DENIED" => Self::Denied,
            b"ALLOWED" => Self::Allowed,
            b"KILLED" => Self::Killed,
            b"AUDIT" => Self::Audited,
            b"STATUS" => Self::Status,
            b"HINT" => Self::Hint,
            b"ERROR" => Self::Error,
            _ => return None,
        })
    }
}

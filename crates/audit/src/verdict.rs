//! What AppArmor did about an access.

/// What AppArmor did about an access.
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
    /// The event is about something else: a loaded profile, an error.
    Other,
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
            Self::Other => "other",
        }
    }

    pub(crate) fn of(word: &str) -> Self {
        match word {
            "DENIED" => Self::Denied,
            "ALLOWED" => Self::Allowed,
            "KILLED" => Self::Killed,
            "AUDIT" => Self::Audited,
            _ => Self::Other,
        }
    }
}

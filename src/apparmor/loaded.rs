//! A loaded profile, as the kernel describes it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The mode of a loaded profile, from `policy/profiles/*/mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Access that the profile does not allow is denied.
    Enforce,
    /// Access that the profile does not allow is logged and allowed.
    Complain,
    /// Access that the profile does not allow kills the process.
    Kill,
    /// The profile confines nothing (`flags=(unconfined)`, `flags=(default_allow)`).
    Unconfined,
    /// A program in user space decides (`flags=(prompt)`), or the mode is unknown to us.
    User,
}

impl Mode {
    /// Whether a profile in this mode confines.
    #[must_use]
    pub fn enforces(self) -> bool {
        matches!(self, Self::Enforce | Self::Kill)
    }

    pub(super) fn parse(text: &str) -> Self {
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

/// A loaded profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its directory below `policy/profiles/`. The number at the end is unique: a profile that is
    /// removed and loaded again gets another directory.
    pub directory: String,
    /// Its mode.
    pub mode: Mode,
    /// The hash of its content, in hexadecimal: SHA-1 before kernel 6.8, then SHA-256; see
    /// [`blob::Declared`](crate::apparmor::blob::Declared). `None` if the kernel computes none
    /// (`CONFIG_SECURITY_APPARMOR_HASH`, parameter `hash_policy`).
    pub hash: Option<String>,
}

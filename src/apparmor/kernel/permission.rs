//! Whether this process may load profiles.

use std::fmt;
use std::sync::OnceLock;

use crate::user_namespace;

/// Why this process cannot load profiles for the whole node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CannotLoad {
    /// It is in a user namespace; only processes in the initial one may.
    UserNamespace,
    /// It is not root.
    NotRoot,
    /// It has no CAP_MAC_ADMIN.
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

/// Whether this process can load profiles for the whole node.
///
/// # Errors
/// [`CannotLoad`], with the reason.
pub fn may_load() -> std::result::Result<(), CannotLoad> {
    // This program never changes its credentials.
    static MAY: OnceLock<std::result::Result<(), CannotLoad>> = OnceLock::new();
    *MAY.get_or_init(check)
}

fn check() -> std::result::Result<(), CannotLoad> {
    if !user_namespace::is_initial() {
        return Err(CannotLoad::UserNamespace);
    }
    if !user_namespace::is_root() {
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

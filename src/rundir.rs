//! `/run/oci-apparmor`: the records and locks of this boot; `docs/formats.md` has the layout.

use std::env;
use std::path::PathBuf;

use crate::apparmor::kernel;
use crate::error::{Error, Kind, Result};

/// The directory of this user: the node's own, or a rootless user's.
///
/// # Errors
/// Where a rootless user has no run-time directory.
pub fn path() -> Result<PathBuf> {
    let own = env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|p| p.is_absolute());
    match own {
        // Engines that run as root may carry a caller's XDG_RUNTIME_DIR; there is one node.
        _ if kernel::in_initial_namespace() && nix::unistd::geteuid().is_root() => {
            Ok(PathBuf::from("/run/oci-apparmor"))
        }
        Some(own) => Ok(own.join("oci-apparmor")),
        None => Err(Error::new(Kind::Internal, "XDG_RUNTIME_DIR is not set")
            .hint("set it; without root the records of containers are kept there")),
    }
}

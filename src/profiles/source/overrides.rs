//! What the administrator of this node has decided about a profile: `disable/` and
//! `force-complain/` below `/etc/apparmor.d`, by the base name of the source (apparmor_parser(8),
//! aa-disable(8), aa-complain(8)).

use std::fmt;
use std::path::{Path, PathBuf};

const DISABLE: &str = "/etc/apparmor.d/disable";
/// The directory of profiles that are in complain mode on this node.
pub const FORCE_COMPLAIN: &str = "/etc/apparmor.d/force-complain";

/// Why a profile must not be loaded on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disabled {
    /// This entry of `disable/` exists.
    Entry(PathBuf),
    /// This manifest has `state: Disabled`.
    Manifest(PathBuf),
}

impl Disabled {
    /// How to enable the profile.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Entry(path) => format!("run: rm {}", path.display()),
            Self::Manifest(path) => format!("remove state: Disabled from {}", path.display()),
        }
    }
}

impl fmt::Display for Disabled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(path) => write!(f, "{} exists", path.display()),
            Self::Manifest(path) => write!(f, "{} has state: Disabled", path.display()),
        }
    }
}

/// The entry of `disable/` for a source file of this name.
pub(super) fn disable_entry(file: &str) -> Option<Disabled> {
    let entry = Path::new(DISABLE).join(file);
    exists(&entry).then_some(Disabled::Entry(entry))
}

/// Whether `force-complain/` has an entry for a source file of this name.
pub(super) fn is_forced_to_complain(file: &str) -> bool {
    exists(&Path::new(FORCE_COMPLAIN).join(file))
}

/// Whether this node has disabled the profile in this file.
#[must_use]
pub fn disabled(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|file| disable_entry(&file.to_string_lossy()).is_some())
}

/// Whether this node forces the profile in this file into complain mode.
#[must_use]
pub fn forced_to_complain(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|file| is_forced_to_complain(&file.to_string_lossy()))
}

fn exists(entry: &Path) -> bool {
    // It usually is a symbolic link. Like the parser, this ignores where the link leads.
    entry.symlink_metadata().is_ok()
}

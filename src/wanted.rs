//! The mode that a profile must have, what is known about a profile, and the refusals of profiles
//! that are missing or do not enforce. Used by `decision` and by `profiles`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::apparmor::loaded::Mode;
use crate::apparmor::name::ProfileName;
use crate::error::{Error, Kind};
use crate::settings::{self, Settings};

/// The mode that a profile must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// `enforce` or `kill`.
    Enforcing,
    /// Any mode.
    Any,
}

impl Wanted {
    /// Whether a profile in `mode` is accepted.
    #[must_use]
    pub fn met_by(self, mode: Mode) -> bool {
        self == Self::Any || mode.enforces()
    }
}

/// One profile of the decided label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The profile.
    pub name: ProfileName,
    /// The mode that it must have.
    pub wanted: Wanted,
}

/// What is known about one profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileFacts {
    /// Its mode in the kernel; `None` if it is not loaded.
    pub loaded: Option<Mode>,
    /// The file that it can be compiled from.
    pub source: Option<PathBuf>,
    /// Whether that file is in a directory of profiles for containers.
    pub for_containers: bool,
    /// Whether the node has set it to complain (`/etc/apparmor.d/force-complain/`).
    pub node_complains: bool,
}

/// The refusal of a profile that is neither loaded nor has a source.
#[must_use]
pub fn missing(name: &ProfileName, from: &str, settings: &Settings) -> Error {
    Error::new(
        Kind::NotFound,
        format!(
            "the profile {name}, requested by {from}, is not loaded, and there is no file {} in {}",
            name.root().file_name(),
            settings::listed(&settings.profile_directories)
        ),
    )
    .with_remedy("put the source of the profile there, or correct the name")
}

/// The refusal of a profile that does not confine where it must.
#[must_use]
pub fn not_enforcing(name: &ProfileName, mode: Mode, from: &str) -> Error {
    Error::new(
        Kind::Policy,
        format!("the profile {name}, requested by {from}, is in {mode} mode; it must enforce"),
    )
    .with_remedy(format!(
        "load it in enforce mode, or let it complain on this node: \
         ln -s ../{} /etc/apparmor.d/force-complain/",
        name.root().file_name()
    ))
}

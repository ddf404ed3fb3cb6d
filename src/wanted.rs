//! What is wanted of a profile, what is known of it, and the refusals where these do not agree.
//!
//! `decision` and `profiles` both speak of it, and neither imports the other.

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
    /// Whichever it has.
    Any,
}

impl Wanted {
    /// Whether a profile in `mode` will do.
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
    /// Its mode in the kernel; `None` where it is not loaded.
    pub loaded: Option<Mode>,
    /// The file that it can be built from.
    pub source: Option<PathBuf>,
    /// Whether that file stands where the node keeps profiles for containers.
    pub for_containers: bool,
    /// Whether the node itself has set it to complain (`force-complain/`).
    pub node_complains: bool,
}

/// The refusal of a profile that is neither loaded nor has a source.
#[must_use]
pub fn missing(name: &ProfileName, from: &str, settings: &Settings) -> Error {
    Error::new(
        Kind::NotFound,
        format!(
            "the profile {name}, which {from} asks for, is neither loaded nor found as the file \
             {} in {}",
            name.root().file_name(),
            settings::listed(&settings.profile_directories)
        ),
    )
    .with_remedy("put its source there, or correct the name")
}

/// The refusal of a profile that does not confine where it must.
#[must_use]
pub fn not_enforcing(name: &ProfileName, mode: Mode, from: &str) -> Error {
    Error::new(
        Kind::Policy,
        format!("the profile {name}, which {from} asks for, is in {mode} mode; it must enforce"),
    )
    .with_remedy(format!(
        "load it in enforce mode, or put it into force-complain on this node: \
         ln -s ../{} /etc/apparmor.d/force-complain/",
        name.root().file_name()
    ))
}

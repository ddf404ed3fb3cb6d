//! Containers whose profile was removed from the kernel while they run.
//!
//! What runs under a profile that is removed turns unconfined, for good: loading the profile again
//! does not bring it back. So its directory, whose number the kernel never uses twice, is compared
//! with the one that was recorded.

use std::path::PathBuf;

use crate::apparmor::kernel::Kernel;
use crate::apparmor::name::ProfileName;
use crate::containers::in_use::State;
use crate::containers::record;
use crate::error::Result;

/// A running container that has lost a profile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lost {
    /// The profile.
    pub profile: ProfileName,
    /// The container's id.
    pub id: String,
    /// The directory of its runtime's containers.
    pub root: PathBuf,
    /// Where the kernel had the profile.
    pub directory: String,
}

/// All of them, as far as their records tell.
///
/// # Errors
/// Where records cannot be listed.
pub fn all(kernel: &Kernel) -> Result<Vec<Lost>> {
    let mut lost = Vec::new();
    for record in record::all()? {
        let gone = record.components.iter().filter(|component| {
            let name = component.name.as_str();
            !component.directory.is_empty() && kernel.at(&component.directory, name).is_none()
        });
        let gone: Vec<_> = gone.collect();
        if gone.is_empty() || !matches!(State::of(&record), State::Running(_)) {
            continue;
        }
        lost.extend(gone.into_iter().map(|component| Lost {
            profile: component.name.clone(),
            id: record.id.clone(),
            root: record.root.clone(),
            directory: component.directory.clone(),
        }));
    }
    Ok(lost)
}

//! Containers whose profile was removed from the kernel while they run.
//!
//! The processes of a removed profile stay unconfined. Loading the profile again does not confine
//! them. The kernel never reuses the number in a profile's directory name, so that name is compared
//! with the recorded one.

use std::path::PathBuf;

use crate::apparmor::kernel::Kernel;
use crate::apparmor::name::ProfileName;
use crate::containers::records;
use crate::containers::status::ContainerStatus;
use crate::error::Result;

/// A profile that was removed while a container used it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RemovedProfile {
    /// The profile.
    pub profile: ProfileName,
    /// The id of the running container.
    pub id: String,
    /// The runtime's root directory.
    pub root: PathBuf,
    /// The recorded directory of the profile in the kernel.
    pub directory: String,
}

/// All removed profiles of running containers that have a record.
///
/// # Errors
/// If the records cannot be listed.
pub fn all(kernel: &Kernel) -> Result<Vec<RemovedProfile>> {
    let mut removed = Vec::new();
    for record in records::all()? {
        let gone = record.components.iter().filter(|component| {
            let name = component.name.as_str();
            !component.directory.is_empty() && kernel.at(&component.directory, name).is_none()
        });
        let gone: Vec<_> = gone.collect();
        if gone.is_empty() || !matches!(ContainerStatus::of(&record), ContainerStatus::Running(_)) {
            continue;
        }
        removed.extend(gone.into_iter().map(|component| RemovedProfile {
            profile: component.name.clone(),
            id: record.id.clone(),
            root: record.root.clone(),
            directory: component.directory.clone(),
        }));
    }
    Ok(removed)
}

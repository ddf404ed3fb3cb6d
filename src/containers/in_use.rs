//! Which processes and containers use a profile.
//!
//! `unload` asks this first: when a profile is removed, its processes stay unconfined, and a label
//! that waits for `start` silently becomes `unconfined`.

use std::fs;
use std::path::Path;

use crate::apparmor::name::ProfileName;
use crate::containers::status::ContainerStatus;
use crate::containers::{attr, procfs, records};
use crate::error::{Error, Result};

/// A process or a container that uses a profile or one of its children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsedBy {
    /// A process.
    Process {
        /// Its id.
        pid: u32,
        /// Its name, at most 15 bytes.
        comm: String,
        /// Its label as the kernel prints it.
        label: String,
    },
    /// A container with a record that runs, waits for `start`, or is being created.
    Container {
        /// Its id.
        id: String,
        /// Its status.
        status: ContainerStatus,
    },
}

/// All processes and containers that use the profile `name` or one of its children.
///
/// Containers of other users' wrappers, and those that were only started with the hook, have no
/// record here. They are found by their processes.
///
/// # Errors
/// If processes or records cannot be listed.
pub fn by(name: &ProfileName) -> Result<Vec<UsedBy>> {
    let mut found = Vec::new();
    for record in records::all()? {
        let mut components = record.components.iter();
        if !components.any(|c| name.covers(c.name.as_str())) {
            continue;
        }
        let status = ContainerStatus::of(&record);
        if status.relies_on_its_label() {
            let id = record.id;
            found.push(UsedBy::Container { id, status });
        }
    }
    let processes = procfs::processes().map_err(|e| Error::io("list", Path::new("/proc"), &e))?;
    for process in processes {
        let threads = fs::read_dir(process.join("task")).into_iter().flatten();
        let label = threads
            .flatten()
            .find_map(|thread| label_with(&thread.path(), name));
        if let (Some(label), Some(pid)) = (label, procfs::id(&process)) {
            let comm = fs::read_to_string(process.join("comm")).unwrap_or_default();
            let comm = comm.trim_end().to_owned();
            found.push(UsedBy::Process { pid, comm, label });
        }
    }
    Ok(found)
}

/// The label of a thread, current or for its next execve(2), if it contains the profile.
fn label_with(thread: &Path, name: &ProfileName) -> Option<String> {
    [attr::current(thread), attr::exec(thread)]
        .into_iter()
        .flatten()
        .find(|label| label.components().any(|c| name.covers(c)))
        .map(|label| label.to_string())
}

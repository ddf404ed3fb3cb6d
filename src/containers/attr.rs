//! The AppArmor attributes of a task: `/proc/PID/attr/apparmor`.
//!
//! The directory `apparmor` is always AppArmor's; `/proc/PID/attr/current` may belong to another
//! security module (Documentation/admin-guide/LSM/index.rst).

use std::io;
use std::path::Path;

use crate::apparmor::confinement::Confinement;
use crate::containers::procfs::{self, ProcFile};

/// The confinement of a task, in `/proc/PID`.
pub(crate) const CURRENT: &str = "attr/apparmor/current";

/// The confinement of a task; `task` is `/proc/PID` or `/proc/PID/task/TID`.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if the task has ended.
pub fn current(task: &Path) -> io::Result<Confinement> {
    read(task, CURRENT)
}

/// The confinement of a process, from its file [`CURRENT`].
///
/// # Errors
/// As for [`current`].
pub(crate) fn current_again(file: &mut ProcFile) -> io::Result<Confinement> {
    file.read().map(|text| Confinement::new(&text))
}

/// The label that the task gets at its next execve(2); empty if none is set.
///
/// Kernels before 6.12.86 print the label of the reader instead (commit 4afc61702bdc). This program
/// sets none, so they print nothing.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if the task has ended.
pub fn exec(task: &Path) -> io::Result<Confinement> {
    read(task, "attr/apparmor/exec")
}

fn read(task: &Path, file: &str) -> io::Result<Confinement> {
    procfs::read(&task.join(file)).map(|text| Confinement::new(&text))
}

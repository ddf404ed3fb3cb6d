//! The AppArmor attributes of a task: `/proc/PID/attr/apparmor`.
//!
//! The directory `apparmor` is always AppArmor's; `/proc/PID/attr/current` may belong to another
//! security module (Documentation/admin-guide/LSM/index.rst).

use std::io;
use std::path::Path;

use crate::apparmor::confinement::Confinement;
use crate::containers::procfs;

/// The confinement of a task; `task` is `/proc/PID` or `/proc/PID/task/TID`.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if the task has ended.
pub fn current(task: &Path) -> io::Result<Confinement> {
    read(task, "current")
}

/// The label that the task gets at its next execve(2); empty if none is set.
///
/// Kernels before 6.12.86 print the label of the reader instead (commit 4afc61702bdc). This program
/// sets none, so they print nothing.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if the task has ended.
pub fn exec(task: &Path) -> io::Result<Confinement> {
    read(task, "exec")
}

fn read(task: &Path, file: &str) -> io::Result<Confinement> {
    procfs::read(&task.join("attr/apparmor").join(file)).map(|text| Confinement::new(&text))
}

//! Profiles that the kernel creates while a profile is in complain mode.
//!
//! If a program is executed that the profile has no rule for, the process gets a new profile that
//! complains and has no rules: `web//null-/bin/sh` (`aa_new_learning_profile()`,
//! security/apparmor/policy.c). It is a child of the profile, and keeps its mode when the profile is
//! replaced: its processes would stay unconfined until they end. So after a change of the mode these
//! profiles are replaced by copies of the profile in its new mode.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::apparmor::kernel::Kernel;
use crate::apparmor::loaded::Mode;
use crate::apparmor::name::ProfileName;
use crate::containers::{attr, procfs};
use crate::error::{Error, Kind, Result};
use crate::fs::digest;
use crate::profiles::lock::LockFile;
use crate::profiles::{Lock, Store};

/// What the last part of such a name begins with.
const NULL: &str = "//null-";

/// How often the list is read: processes may execute further programs meanwhile.
const ROUNDS: usize = 5;

/// Held while a profile is in complain mode for some time. Of two commands, the first one that ends
/// would end complain mode for the other one, too.
///
/// # Errors
/// [`Kind::Policy`] if another process holds it.
pub fn lock(name: &ProfileName) -> Result<Lock> {
    let name = name.root();
    let file = format!("{}-learn", digest::short(name.as_str()));
    let lock = LockFile::named(&file, Duration::ZERO)?.try_exclusive()?;
    lock.ok_or_else(|| {
        let why = format!("another command learns {name} at this moment");
        Error::new(Kind::Policy, why).with_remedy("wait until it ends, and run this command again")
    })
}

/// What was done with the profiles that the kernel created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LearningProfiles {
    /// How many were replaced.
    pub replaced: usize,
    /// Those that have another mode than wanted and that processes run under, with the ids of these
    /// processes.
    pub left: Vec<(String, Vec<u32>)>,
}

/// Gives these profiles the mode of the profile that they belong to.
///
/// # Errors
/// If the kernel's list or processes cannot be read. A profile that cannot be replaced is no error.
pub fn set_mode(store: &Store<'_>, name: &ProfileName, complain: bool) -> Result<LearningProfiles> {
    let root = name.root();
    let mut tried: BTreeSet<String> = BTreeSet::new();
    let mut done = LearningProfiles::default();
    for _ in 0..ROUNDS {
        let wrong = in_other_mode(store.kernel(), &root, complain)?;
        if wrong.is_empty() {
            return Ok(done);
        }
        let used = match complain {
            true => Vec::new(),
            false => in_use(&root)?,
        };
        let is_used = |profile: &String| used.iter().any(|(label, _)| label == profile);
        // A process enters a profile that was made for a program only in complain mode. A hat can be
        // entered in any mode (`aa_change_hat()`, domain.c).
        let matters = |p: &String| complain || is_used(p) || !is_for_program(p);
        let mut todo = wrong.into_iter().filter(matters).collect::<Vec<_>>();
        todo.retain(|profile| !tried.contains(profile));
        if todo.is_empty() {
            break;
        }
        for profile in todo {
            match store.load_copy(&root, &profile, complain) {
                Ok(()) => done.replaced = done.replaced.saturating_add(1),
                Err(e) => log::debug!("{e}"),
            }
            tried.insert(profile);
        }
    }
    if !complain {
        let wrong = in_other_mode(store.kernel(), &root, complain)?;
        done.left = in_use(&root)?;
        done.left.retain(|(profile, _)| wrong.contains(profile));
    }
    Ok(done)
}

/// The profiles that the kernel created below a profile and that have another mode.
fn in_other_mode(kernel: &Kernel, root: &ProfileName, complain: bool) -> Result<Vec<String>> {
    let is_wrong = |mode: Mode| match complain {
        true => mode.enforces(),
        false => mode == Mode::Complain,
    };
    let listed = kernel.list()?.into_iter();
    let created = listed.filter(|(name, _)| root.covers(name) && name.contains(NULL));
    let wrong = created.filter(|(_, mode)| is_wrong(*mode));
    Ok(wrong.map(|(name, _)| name).collect())
}

/// Whether it was created when a program was executed, and not for a hat.
fn is_for_program(profile: &str) -> bool {
    let last = profile.rsplit_once(NULL);
    last.is_some_and(|(_, program)| program.starts_with('/'))
}

/// The profiles of this kind that processes have, with the ids of the processes.
fn in_use(root: &ProfileName) -> Result<Vec<(String, Vec<u32>)>> {
    let mut used: Vec<(String, Vec<u32>)> = Vec::new();
    let processes = procfs::processes().map_err(|e| Error::io("list", Path::new("/proc"), &e))?;
    for process in processes {
        let Some(pid) = procfs::id(&process) else {
            continue;
        };
        let threads = fs::read_dir(process.join("task")).into_iter().flatten();
        for thread in threads.flatten() {
            let Ok(label) = attr::current(&thread.path()) else {
                continue;
            };
            let parts = label
                .components()
                .filter(|part| root.covers(part) && part.contains(NULL));
            for part in parts {
                match used.iter_mut().find(|(profile, _)| profile == part) {
                    Some((_, pids)) if pids.contains(&pid) => {}
                    Some((_, pids)) => pids.push(pid),
                    None => used.push((part.to_owned(), vec![pid])),
                }
            }
        }
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_of_programs_and_of_hats() {
        assert!(is_for_program("web//null-/bin/sh"));
        assert!(is_for_program("web//null-/bin/sh//null-/bin/cat"));
        assert!(!is_for_program("web//null-hat"));
        assert!(!is_for_program("web"));
    }
}

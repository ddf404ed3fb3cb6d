//! The labels that the processes of a container really have.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::apparmor::kernel::{Enforcement, Kernel};
use crate::apparmor::loaded::Mode;
use crate::apparmor::name::Label;
use crate::error::{Error, Kind, Result, quoted, reason};
use crate::profiles::Source;
use crate::runtime::record::{Record, Recorded};
use crate::settings::Settings;

/// The label of a process's first thread, and whether that holds what was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The process.
    pub pid: u32,
    /// Its name, at most 15 bytes.
    pub comm: String,
    /// Its label as the kernel prints it.
    pub label: String,
    /// Whether it holds every recorded profile, in a mode that will do.
    pub holds: bool,
}

/// The processes of the container whose first process is `pid`, in the order of their ids.
#[must_use]
pub fn of_container(pid: u32, record: &Record) -> Vec<Process> {
    let text = |path: PathBuf| Some(fs::read_to_string(path).ok()?.trim_end().to_owned());
    let look = |path: PathBuf| {
        let label = text(path.join("attr/apparmor/current"))?;
        Some(Process {
            pid: path.file_name()?.to_str()?.parse().ok()?,
            comm: text(path.join("comm"))?,
            holds: holds(&label, record).is_ok(),
            label,
        })
    };
    let mut found: Vec<Process> = processes(pid, &record.id)
        .into_iter()
        .filter_map(look)
        .collect();
    found.sort_by_key(|process| process.pid);
    found
}

/// Whether every thread of the container whose first process is `pid` has the recorded label, and
/// the kernel enforces it.
///
/// # Errors
/// The first thread that has not, or that cannot be looked at; or where nothing is enforced.
pub(super) fn all_hold(pid: u32, record: &Record) -> Result<()> {
    for process in processes(pid, &record.id) {
        let threads = process.join("task");
        let Ok(entries) = fs::read_dir(&threads) else {
            continue;
        };
        for thread in entries.flatten() {
            let path = thread.path().join("attr/apparmor/current");
            match fs::read_to_string(&path) {
                Ok(text) => holds(text.trim_end(), record)?,
                // It has ended meanwhile.
                Err(_) if !thread.path().exists() => {}
                Err(e) => {
                    let why = format!("cannot read {}: {}", path.display(), reason(&e));
                    return Err(Error::new(Kind::Internal, why));
                }
            }
        }
    }
    enforced(record)
}

/// Whether the kernel enforces what was recorded, if that confines at all. With its global mode at
/// `complain` every process still shows `(enforce)`, see [`Kernel::enforcement`].
///
/// # Errors
/// Where it does not.
pub fn enforced(record: &Record) -> Result<()> {
    if record.components.is_empty() {
        return Ok(());
    }
    match Kernel::default().enforcement() {
        Enforcement::On => Ok(()),
        Enforcement::Off(why) => {
            Err(Error::new(Kind::KernelOff, why).hint("run: oci-apparmor check"))
        }
    }
}

/// Kills every process of the container `id` whose first process is `pid`.
pub(super) fn kill_all(pid: u32, id: &str) {
    // What forks while it is killed is found by the next look.
    for _ in 0..100 {
        let mut left = false;
        for process in processes(pid, id) {
            let number = process
                .file_name()
                .and_then(|n| n.to_str())
                .and_then(|n| n.parse().ok());
            let Some(target) = number.and_then(Pid::from_raw) else {
                continue;
            };
            if let Ok(handle) = pidfd_open(target, PidfdFlags::empty()) {
                left |= pidfd_send_signal(&handle, Signal::KILL).is_ok();
            }
        }
        if !left {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// The processes that share the first one's process namespace or control group, itself included;
/// unless it shares the namespace with us, or the group is not named after the container `id`:
/// without a group of its own it is in its engine's, or in a whole session's.
fn processes(pid: u32, id: &str) -> Vec<PathBuf> {
    let first = Path::new("/proc").join(pid.to_string());
    let ours = Path::new("/proc/self");
    let namespace = |process: &Path| fs::read_link(process.join("ns/pid")).ok();
    let group = |process: &Path| fs::read_to_string(process.join("cgroup")).ok();
    let (in_namespace, in_group) = (
        namespace(&first).filter(|n| namespace(ours).as_ref() != Some(n)),
        group(&first).filter(|g| g.contains(id) && group(ours).as_ref() != Some(g)),
    );
    let belongs = |process: &PathBuf| {
        *process == first
            || in_namespace.is_some() && namespace(process) == in_namespace
            || in_group.is_some() && group(process) == in_group
    };
    // A zombie has ended: it has no threads that could run.
    everything()
        .filter(belongs)
        .filter(|p| fs::read_link(p.join("exe")).is_ok())
        .collect()
}

/// The directories of all processes of this machine.
pub(super) fn everything() -> impl Iterator<Item = PathBuf> {
    let is_process = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
    };
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(is_process)
}

/// Whether a label as the kernel prints it holds every recorded profile in its mode. Stacks are
/// sets, and a child of a profile is that profile.
pub(super) fn holds(text: &str, record: &Record) -> Result<()> {
    let (components, mode) = components(text);
    let held = |recorded: &&Recorded| {
        components.iter().any(|c| recorded.name.covers(c)) && in_mode(recorded, mode)
    };
    match record.components.iter().find(|recorded| !held(recorded)) {
        None => Ok(()),
        Some(missing) => Err(Error::new(
            Kind::Policy,
            format!(
                "a process runs as {} instead of under {}",
                quoted(text),
                missing.name
            ),
        )),
    }
}

/// Whether the first thread of a process has all profiles of a label.
pub(super) fn runs_under(pid: u32, label: &Label) -> bool {
    let path = format!("/proc/{pid}/attr/apparmor/current");
    let text = fs::read_to_string(path).unwrap_or_default();
    let (has, _) = components(text.trim_end());
    let mut names = label.components().iter();
    names.all(|name| has.iter().any(|part| name.covers(part)))
}

/// The profiles of a label as the kernel prints it, and the mode, if it prints one.
pub(super) fn components(text: &str) -> (Vec<&str>, Option<&str>) {
    let (label, mode) = match text.strip_suffix(')').and_then(|t| t.rsplit_once(" (")) {
        Some((label, mode)) => (label, Some(mode)),
        None => (text, None),
    };
    (label.split("//&").collect(), mode)
}

/// The mode that is printed is the whole stack's; a mixed one tells nothing of its parts.
fn in_mode(recorded: &Recorded, printed: Option<&str>) -> bool {
    match printed {
        Some("enforce" | "kill") => true,
        _ => match Kernel::default().loaded(&recorded.name) {
            Ok(Some(loaded)) => {
                recorded.wanted.met_by(loaded.mode)
                    || loaded.mode == Mode::Complain && lets_complain(recorded)
            }
            _ => false,
        },
    }
}

/// Whether the node has set the profile to complain, maybe since the container was made.
fn lets_complain(recorded: &Recorded) -> bool {
    let settings = Settings::load().unwrap_or_default();
    Source::complains(&recorded.name, &settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apparmor::name::ProfileName;
    use crate::decision::Wanted;
    use crate::runtime::record::{Place, empty};

    fn record(names: &[&str]) -> Record {
        let place = Place {
            root: Path::new("/r"),
            id: "c",
        };
        let mut record = empty("runc", place, Path::new("/b"));
        record.components = names
            .iter()
            .map(|name| Recorded {
                name: ProfileName::parse(name).unwrap(),
                wanted: Wanted::Enforcing,
                mode: Mode::Enforce,
                directory: String::new(),
            })
            .collect();
        record
    }

    #[test]
    fn labels_are_compared_as_sets() {
        for (text, names) in [
            ("p (enforce)", &["p"][..]),
            ("p (kill)", &["p"]),
            ("crun//&p (enforce)", &["p"]),
            ("a//&b (enforce)", &["b", "a"]),
            ("p//child (enforce)", &["p"]),
            ("p//&unconfined (enforce)", &["p"]),
        ] {
            assert!(holds(text, &record(names)).is_ok(), "{text}");
        }
        for (text, names) in [
            ("unconfined", &["p"][..]),
            ("pp (enforce)", &["p"]),
            ("a (enforce)", &["a", "b"]),
            ("no-such-profile (complain)", &["no-such-profile"]),
            ("no-such-profile (unconfined)", &["no-such-profile"]),
            ("no-such-profile", &["no-such-profile"]),
            ("", &["p"]),
        ] {
            assert!(holds(text, &record(names)).is_err(), "{text}");
        }
    }
}

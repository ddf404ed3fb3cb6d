//! The labels that the processes of a container really have.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::apparmor::kernel::{Enforcement, Kernel};
use crate::apparmor::loaded::Mode;
use crate::apparmor::name::Label;
use crate::containers::members::Members;
use crate::containers::process;
use crate::containers::record::{Record, Recorded};
use crate::error::{Error, Kind, Result, quoted, reason};
use crate::node::Node;
use crate::profiles::Source;

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
///
/// # Errors
/// Where it cannot be told which these are.
pub fn of_container(pid: u32, record: &Record, node: &Node) -> Result<Vec<Process>> {
    let text = |path: PathBuf| Some(process::read(&path).ok()?.trim_end().to_owned());
    let look = |path: PathBuf| {
        let label = text(path.join("attr/apparmor/current"))?;
        Some(Process {
            pid: process::id(&path)?,
            comm: text(path.join("comm"))?,
            holds: holds(&label, record, node).is_ok(),
            label,
        })
    };
    let members = Members::of(pid, &record.id).and_then(|members| members.list_own());
    let mut found: Vec<Process> = members
        .map_err(|e| unknown(&record.id, &e))?
        .into_iter()
        .filter_map(look)
        .collect();
    found.sort_by_key(|process| process.pid);
    Ok(found)
}

/// Whether every thread of the container whose first process is `pid` has the recorded label, and
/// the kernel enforces it.
///
/// # Errors
/// The first thread that has not, or that cannot be looked at; or where nothing is enforced.
pub(crate) fn all_hold(pid: u32, record: &Record, node: &Node) -> Result<()> {
    let members = Members::of(pid, &record.id).and_then(|members| members.list());
    for process in members.map_err(|e| unknown(&record.id, &e))? {
        for path in threads(&process)? {
            match process::read(&path.join("attr/apparmor/current")) {
                Ok(text) => holds(text.trim_end(), record, node)?,
                // It has ended meanwhile.
                Err(e) if e.kind() == ErrorKind::NotFound && !path.exists() => {}
                Err(e) => {
                    let why = format!(
                        "cannot read the label of {}: {}",
                        path.display(),
                        reason(&e)
                    );
                    return Err(Error::new(Kind::Internal, why));
                }
            }
        }
    }
    enforced(record, &node.kernel)
}

/// The directories of a process's threads; none where it has ended meanwhile.
fn threads(process: &Path) -> Result<Vec<PathBuf>> {
    let directory = process.join("task");
    let listed = fs::read_dir(&directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    match listed.map_err(process::ended) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|e| Error::io("list", &directory, &e)),
    }
}

fn unknown(id: &str, error: &io::Error) -> Error {
    let why = format!(
        "cannot tell which processes are those of container {id}: {}",
        reason(error)
    );
    Error::new(Kind::Internal, why)
}

/// Whether the kernel enforces what was recorded, if that confines at all. With its global mode at
/// `complain` every process still shows `(enforce)`, see [`Kernel::enforcement`].
///
/// # Errors
/// Where it does not.
pub fn enforced(record: &Record, kernel: &Kernel) -> Result<()> {
    if record.components.is_empty() {
        return Ok(());
    }
    match kernel.enforcement() {
        Enforcement::On => Ok(()),
        Enforcement::Off(why) => Err(why.error()),
    }
}

/// Whether a label as the kernel prints it holds every recorded profile in its mode. Stacks are
/// sets, and a child of a profile is that profile.
pub(crate) fn holds(text: &str, record: &Record, node: &Node) -> Result<()> {
    let (components, mode) = components(text);
    let held = |recorded: &&Recorded| {
        components.iter().any(|c| recorded.name.covers(c)) && in_mode(recorded, mode, node)
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
pub(crate) fn runs_under(pid: u32, label: &Label) -> bool {
    let path = format!("/proc/{pid}/attr/apparmor/current");
    let text = fs::read_to_string(path).unwrap_or_default();
    let (has, _) = components(text.trim_end());
    let mut names = label.components().iter();
    names.all(|name| has.iter().any(|part| name.covers(part)))
}

/// The profiles of a label as the kernel prints it, and the mode, if it prints one.
pub(crate) fn components(text: &str) -> (Vec<&str>, Option<&str>) {
    let (label, mode) = match text.strip_suffix(')').and_then(|t| t.rsplit_once(" (")) {
        Some((label, mode)) => (label, Some(mode)),
        None => (text, None),
    };
    (label.split("//&").collect(), mode)
}

/// The mode that is printed is the whole stack's; a mixed one tells nothing of its parts.
fn in_mode(recorded: &Recorded, printed: Option<&str>, node: &Node) -> bool {
    match printed {
        Some("enforce" | "kill") => true,
        _ => match node.kernel.loaded(&recorded.name) {
            Ok(Some(loaded)) => {
                recorded.wanted.met_by(loaded.mode)
                    || loaded.mode == Mode::Complain
                        && Source::complains(&recorded.name, &node.settings)
            }
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apparmor::name::ProfileName;
    use crate::containers::record::{Place, empty};
    use crate::wanted::Wanted;

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
            assert!(
                holds(text, &record(names), &Node::default()).is_ok(),
                "{text}"
            );
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
            assert!(
                holds(text, &record(names), &Node::default()).is_err(),
                "{text}"
            );
        }
    }
}

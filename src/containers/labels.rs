//! Compares the labels of a container's processes with its record.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::apparmor::confinement::Confinement;
use crate::apparmor::kernel::{Enforcement, Kernel};
use crate::apparmor::loaded::Mode;
use crate::containers::processes::ProcessSet;
use crate::containers::record::{Record, RecordedProfile};
use crate::containers::{attr, procfs};
use crate::error::{Error, Kind, Result, quoted, reason};
use crate::node::Node;
use crate::profiles::Source;

/// A process of a container, with the label of its first thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledProcess {
    /// Its id.
    pub pid: u32,
    /// Its name, at most 15 bytes.
    pub comm: String,
    /// Its label as the kernel prints it.
    pub label: String,
    /// Whether the label contains every recorded profile in an acceptable mode.
    pub confined: bool,
}

/// The processes of the container whose first process is `pid`, by their ids.
///
/// # Errors
/// If the processes of the container cannot be listed.
pub fn of_container(pid: u32, record: &Record, node: &Node) -> Result<Vec<LabelledProcess>> {
    let look = |path: PathBuf| {
        let label = attr::current(&path).ok()?;
        let comm = procfs::read(&path.join("comm")).ok()?;
        Some(LabelledProcess {
            pid: procfs::id(&path)?,
            comm: comm.trim_end().to_owned(),
            confined: matches_record(&label, record, node).is_ok(),
            label: label.to_string(),
        })
    };
    let processes = ProcessSet::of(pid, &record.id).and_then(|set| set.list_own());
    let mut found: Vec<LabelledProcess> = processes
        .map_err(|e| not_listed(&record.id, &e))?
        .into_iter()
        .filter_map(look)
        .collect();
    found.sort_by_key(|process| process.pid);
    Ok(found)
}

/// Checks that every thread of these processes of the container has the recorded label, and that the
/// kernel enforces it.
///
/// # Errors
/// For the first thread that has another label or cannot be read, and if the processes cannot be
/// listed or nothing is enforced.
pub(crate) fn check_all_threads(
    processes: io::Result<ProcessSet>,
    record: &Record,
    node: &Node,
) -> Result<()> {
    let processes = processes.and_then(|set| set.list());
    for process in processes.map_err(|e| not_listed(&record.id, &e))? {
        for path in threads(&process)? {
            match attr::current(&path) {
                Ok(label) => matches_record(&label, record, node)?,
                // The thread has ended. A look that fails does not tell that.
                Err(e)
                    if e.kind() == ErrorKind::NotFound
                        && matches!(path.try_exists(), Ok(false)) => {}
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
    check_enforcement(record, &node.kernel)
}

/// The directories of a process's threads; none if the process has ended.
fn threads(process: &Path) -> Result<Vec<PathBuf>> {
    let directory = process.join("task");
    let listed = fs::read_dir(&directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    match listed.map_err(procfs::not_found_if_ended) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|e| Error::io("list", &directory, &e)),
    }
}

fn not_listed(id: &str, error: &io::Error) -> Error {
    let why = format!(
        "cannot list the processes of container {id}: {}",
        reason(error)
    );
    Error::new(Kind::Internal, why)
}

/// Checks that the kernel enforces profiles, if the record has any. If its global mode is
/// `complain`, every process still shows `(enforce)`, see [`Kernel::enforcement`].
///
/// # Errors
/// If it does not.
pub fn check_enforcement(record: &Record, kernel: &Kernel) -> Result<()> {
    if record.components.is_empty() {
        return Ok(());
    }
    match kernel.enforcement() {
        Enforcement::On => Ok(()),
        Enforcement::Off(why) => Err(why.error()),
    }
}

/// Checks that a label contains every recorded profile in its mode. Further components are allowed,
/// and a child profile counts as its parent.
pub(crate) fn matches_record(label: &Confinement, record: &Record, node: &Node) -> Result<()> {
    let missing = record.components.iter().find(|recorded| {
        !label.components().any(|c| recorded.name.covers(c))
            || !is_in_mode(recorded, label.mode(), node)
    });
    match missing {
        None => Ok(()),
        Some(missing) => Err(Error::new(
            Kind::Policy,
            format!(
                "a process runs as {} instead of under {}",
                quoted(label.as_str()),
                missing.name
            ),
        )),
    }
}

/// The printed mode is that of the whole stack. If it is `mixed`, the kernel is asked for the mode of
/// this profile.
fn is_in_mode(recorded: &RecordedProfile, printed: Option<&str>, node: &Node) -> bool {
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
    use crate::containers::record::ContainerKey;
    use crate::wanted::Wanted;

    fn record(names: &[&str]) -> Record {
        let key = ContainerKey {
            root: Path::new("/r"),
            id: "c",
        };
        let mut record = Record::new("runc", key, Path::new("/b"));
        record.components = names
            .iter()
            .map(|name| RecordedProfile {
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
                matches_record(&Confinement::new(text), &record(names), &Node::default()).is_ok(),
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
                matches_record(&Confinement::new(text), &record(names), &Node::default()).is_err(),
                "{text}"
            );
        }
    }
}

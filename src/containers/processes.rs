//! The processes of one container.
//!
//! They are those in its control group and below it, if it has a group of its own. Its process
//! namespace counts only if its first process is process 1 in it: with `shareProcessNamespace`,
//! `kubectl debug --target` or `--pid=container:` the namespace belongs to a whole pod or to another
//! container.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::containers::cgroup::{self, Cgroup};
use crate::containers::pidfd::PidFd;
use crate::containers::procfs::{self, Stat};

/// How long killed processes may take to end before they are looked for again.
const PAUSE: Duration = Duration::from_millis(10);

/// The processes of one container.
#[derive(Debug, Default)]
pub(crate) struct ProcessSet {
    first: Option<PidFd>,
    /// The process namespace, if the first process is process 1 in it.
    namespace: Option<PathBuf>,
    groups: BTreeSet<Cgroup>,
}

/// The control groups of a container before its runtime was called.
#[derive(Debug)]
pub(crate) struct EarlierGroups(BTreeSet<Cgroup>);

impl EarlierGroups {
    /// The control groups named after the container `id` that have processes now.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(crate) fn of(id: &str) -> io::Result<Self> {
        cgroup::all_of_container(id).map(Self)
    }
}

impl ProcessSet {
    /// The processes of the container `id` whose first process is `pid`. The set is empty if that
    /// process has ended.
    ///
    /// # Errors
    /// If they cannot be determined.
    pub(crate) fn of(pid: u32, id: &str) -> io::Result<Self> {
        let mut set = Self::default();
        let first = PidFd::open(pid).map_err(|e| io::Error::other(e.to_string()))?;
        let Some(first) = first else {
            return Ok(set);
        };
        let directory = first.directory();
        let looked = (|| {
            if is_first_of_its_namespace(&directory)? {
                let namespace = fs::read_link(directory.join("ns/pid"));
                set.namespace = Some(namespace.map_err(procfs::not_found_if_ended)?);
            }
            set.groups = cgroup::of_container(id, &directory, &cgroup::own()?)?;
            Ok(())
        })();
        match looked {
            // The id may have been reused while the files were read.
            _ if first.has_ended() => Ok(Self::default()),
            Err(e) => Err(e),
            Ok(()) => {
                set.first = Some(first);
                Ok(set)
            }
        }
    }

    /// The processes of a container whose first process is unknown: those in control groups that are
    /// named after it, except for the `earlier` groups.
    ///
    /// # Errors
    /// If they cannot be determined.
    pub(crate) fn since(earlier: &EarlierGroups, id: &str) -> io::Result<Self> {
        let now = cgroup::all_of_container(id)?;
        Ok(Self {
            groups: now.difference(&earlier.0).cloned().collect(),
            ..Self::default()
        })
    }

    /// Whether its first process had ended before it could be looked at, or is unknown.
    pub(crate) fn is_without_first(&self) -> bool {
        self.first.is_none()
    }

    /// The directories in `/proc` of the processes that have not ended.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub(crate) fn list(&self) -> io::Result<Vec<PathBuf>> {
        Self::select(|process| self.contains(process))
    }

    /// As [`Self::list`], without the processes of other containers in a shared process namespace.
    /// They have control groups of their own.
    ///
    /// # Errors
    /// As for [`Self::list`].
    pub(crate) fn list_own(&self) -> io::Result<Vec<PathBuf>> {
        match self.groups.is_empty() {
            true => self.list(),
            false => Self::select(|process| Ok(self.is_first(process) || self.in_groups(process)?)),
        }
    }

    fn select(belongs: impl Fn(&Path) -> io::Result<bool>) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for process in procfs::processes()? {
            let lives = || Stat::read(&process).map(|stat| !stat.has_ended());
            match belongs(&process).and_then(|yes| Ok(yes && lives()?)) {
                Ok(true) => found.push(process),
                Ok(false) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(found)
    }

    fn contains(&self, process: &Path) -> io::Result<bool> {
        Ok(self.is_first(process) || self.in_namespace(process)? || self.in_groups(process)?)
    }

    fn is_first(&self, process: &Path) -> bool {
        let first = self.first.as_ref();
        first.is_some_and(|first| Some(first.pid()) == procfs::id(process) && !first.has_ended())
    }

    fn in_namespace(&self, process: &Path) -> io::Result<bool> {
        let Some(own) = &self.namespace else {
            return Ok(false);
        };
        match fs::read_link(process.join("ns/pid")).map_err(procfs::not_found_if_ended) {
            // Only root can read this of other users' processes.
            Err(e) if e.kind() == ErrorKind::PermissionDenied => Ok(false),
            other => Ok(other? == *own),
        }
    }

    fn in_groups(&self, process: &Path) -> io::Result<bool> {
        if self.groups.is_empty() {
            return Ok(false);
        }
        let of_process = cgroup::of(process)?;
        let mut groups = self.groups.iter();
        Ok(groups.any(|group| of_process.iter().any(|one| one.is_in(group))))
    }

    /// Kills all processes, also those that are forked during that; whether none is left.
    pub(crate) fn kill(&self) -> bool {
        // The first process has an open pidfd, so this works even if no descriptor can be opened.
        if let Some(first) = &self.first {
            first.kill();
        }
        for _ in 0..100 {
            self.groups.iter().for_each(Cgroup::kill);
            let left = match self.list() {
                Ok(list) => list.iter().filter(|process| self.kill_one(process)).count(),
                // For instance without free descriptors; tried again.
                Err(_) => 1,
            };
            if left == 0 {
                return true;
            }
            match &self.first {
                Some(first) if !first.has_ended() => {
                    first.ends_within(Some(PAUSE), None);
                }
                // Of the others no pidfd is open any more.
                _ => std::thread::sleep(PAUSE),
            }
        }
        false
    }

    /// Kills a process if it belongs to the container once its pidfd is open; its id may have been
    /// reused before. Returns whether it may still exist.
    fn kill_one(&self, process: &Path) -> bool {
        match procfs::id(process).map(PidFd::open) {
            Some(Ok(Some(open))) => match self.contains(process) {
                Ok(true) => open.kill(),
                Ok(false) => false,
                Err(e) => e.kind() != ErrorKind::NotFound,
            },
            Some(Err(_)) => true,
            Some(Ok(None)) | None => false,
        }
    }
}

/// Whether a process is process 1 of its process namespace, and that is not the namespace of `/proc`.
fn is_first_of_its_namespace(process: &Path) -> io::Result<bool> {
    let status = procfs::read(&process.join("status"))?;
    // One id for each namespace that it is in, from the outermost to its own.
    let ids = status.lines().find_map(|l| l.strip_prefix("NSpid:"));
    let mut ids = ids.unwrap_or_default().split_ascii_whitespace().rev();
    Ok(ids.next() == Some("1") && ids.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_process_namespace_does_not_count() {
        assert!(!is_first_of_its_namespace(Path::new("/proc/self")).unwrap());
        let set = ProcessSet::of(std::process::id(), "no-such-container").unwrap();
        assert_eq!(set.namespace, None);
        let own = Path::new("/proc").join(std::process::id().to_string());
        assert_eq!(set.list().unwrap(), [own]);
    }
}

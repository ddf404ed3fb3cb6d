//! Which processes are a container's.
//!
//! Its control group, with all that is below it, where it has one of its own. Its process
//! namespace only where its first process is process 1 in it: with `shareProcessNamespace`,
//! `kubectl debug --target` or `--pid=container:` the namespace is that of a whole pod, or of
//! another container.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::containers::process::{self, Process, Stat};

/// Where the one hierarchy of control groups is (cgroup v2), if it has all controllers.
const UNIFIED: &str = "/sys/fs/cgroup";

/// A control group: its hierarchy as `/proc/PID/cgroup` names it, and its path.
pub(crate) type Group = (String, String);

/// The processes of one container.
#[derive(Debug, Default)]
pub(crate) struct Members {
    first: Option<Process>,
    /// The process namespace, if the first process is process 1 in it.
    namespace: Option<PathBuf>,
    groups: BTreeSet<Group>,
}

impl Members {
    /// Those of the container `id` whose first process is this one; none if that has ended.
    ///
    /// # Errors
    /// Where it cannot be told.
    pub(crate) fn of(pid: u32, id: &str) -> io::Result<Self> {
        let mut members = Self::default();
        let first = Process::of(pid).map_err(|e| io::Error::other(e.to_string()))?;
        let Some(first) = first else {
            return Ok(members);
        };
        let directory = first.directory();
        let looked = (|| {
            if is_first_of_its_own(&directory)? {
                let namespace = fs::read_link(directory.join("ns/pid"));
                members.namespace = Some(namespace.map_err(process::ended)?);
            }
            members.groups = named_after(id, &directory, &ours()?)?;
            Ok(())
        })();
        match looked {
            // What was read of an id that is another's by now says nothing.
            _ if first.has_ended() => Ok(Self::default()),
            Err(e) => Err(e),
            Ok(()) => {
                members.first = Some(first);
                Ok(members)
            }
        }
    }

    /// Those of a container whose first process is not known: what is in control groups that are
    /// named after it, and was in none of these `before`.
    ///
    /// # Errors
    /// Where it cannot be told.
    pub(crate) fn since(before: &BTreeSet<Group>, id: &str) -> io::Result<Self> {
        let groups = in_use(id)?.difference(before).cloned().collect();
        Ok(Self {
            groups,
            ..Self::default()
        })
    }

    /// The directories of those that have not ended.
    ///
    /// # Errors
    /// Where they cannot be looked at.
    pub(crate) fn list(&self) -> io::Result<Vec<PathBuf>> {
        self.select(|process| self.has(process))
    }

    /// As [`Self::list`], but without the neighbours in a process namespace that the container
    /// shares with others: they have control groups of their own.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn list_own(&self) -> io::Result<Vec<PathBuf>> {
        match self.groups.is_empty() {
            true => self.list(),
            false => self.select(|process| Ok(self.is_first(process) || self.in_groups(process)?)),
        }
    }

    fn select(&self, belongs: impl Fn(&Path) -> io::Result<bool>) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for process in process::everything()? {
            match belongs(&process).and_then(|yes| Ok(yes && !Stat::read(&process)?.is_over())) {
                Ok(true) => found.push(process),
                Ok(false) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(found)
    }

    fn has(&self, process: &Path) -> io::Result<bool> {
        Ok(self.is_first(process) || self.in_namespace(process)? || self.in_groups(process)?)
    }

    fn is_first(&self, process: &Path) -> bool {
        let first = self.first.as_ref();
        first.is_some_and(|first| Some(first.pid()) == process::id(process) && !first.has_ended())
    }

    fn in_namespace(&self, process: &Path) -> io::Result<bool> {
        let Some(own) = &self.namespace else {
            return Ok(false);
        };
        match fs::read_link(process.join("ns/pid")).map_err(process::ended) {
            // Without root, other users' processes cannot be looked at.
            Err(e) if e.kind() == ErrorKind::PermissionDenied => Ok(false),
            other => Ok(other? == *own),
        }
    }

    fn in_groups(&self, process: &Path) -> io::Result<bool> {
        if self.groups.is_empty() {
            return Ok(false);
        }
        let is_below = |path: &str, root: &str| {
            let rest = path.strip_prefix(root);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let of_process = groups(process)?;
        let mut pairs = of_process
            .iter()
            .flat_map(|one| self.groups.iter().map(move |own| (one, own)));
        Ok(pairs.any(|(one, own)| one.0 == own.0 && is_below(&one.1, &own.1)))
    }

    /// Kills them all, also those that fork meanwhile; whether none is left.
    pub(crate) fn kill(&self) -> bool {
        // This one needs no descriptor, should there be none left.
        if let Some(first) = &self.first {
            first.kill();
        }
        for _ in 0..100 {
            // One write kills a whole group, whatever it forks (since Linux 5.14).
            for (hierarchy, path) in &self.groups {
                if hierarchy == "0:" && Path::new(UNIFIED).join("cgroup.controllers").exists() {
                    let group = Path::new(UNIFIED).join(path.trim_start_matches('/'));
                    let _ = fs::write(group.join("cgroup.kill"), "1");
                }
            }
            let left = match self.list() {
                Ok(list) => list.iter().filter(|process| self.kill_one(process)).count(),
                // Without descriptors, for instance; that may pass.
                Err(_) => 1,
            };
            if left == 0 {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Kills a process if it still belongs to the container once it is held on to: its id may be
    /// another's by then. Whether it may be there still.
    fn kill_one(&self, process: &Path) -> bool {
        match process::id(process).map(Process::of) {
            Some(Ok(Some(held))) => match self.has(process) {
                Ok(true) => held.kill(),
                Ok(false) => false,
                Err(e) => e.kind() != ErrorKind::NotFound,
            },
            Some(Err(_)) => true,
            Some(Ok(None)) | None => false,
        }
    }
}

/// Whether a process is process 1 of its process namespace, and that is not ours.
fn is_first_of_its_own(process: &Path) -> io::Result<bool> {
    let status = process::read(&process.join("status"))?;
    // One number for each namespace that it is in, from ours to its own.
    let numbers = status.lines().find_map(|l| l.strip_prefix("NSpid:"));
    let mut numbers = numbers.unwrap_or_default().split_ascii_whitespace().rev();
    Ok(numbers.next() == Some("1") && numbers.next().is_some())
}

/// The control groups of a process, one of each hierarchy.
fn groups(process: &Path) -> io::Result<Vec<Group>> {
    let text = process::read(&process.join("cgroup"))?;
    Ok(text.lines().filter_map(group).collect())
}

fn ours() -> io::Result<Vec<Group>> {
    groups(Path::new("/proc/self"))
}

/// A line of `/proc/PID/cgroup`: `ID:CONTROLLERS:PATH`; with cgroup v2 `0::PATH`.
fn group(line: &str) -> Option<Group> {
    let (number, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    Some((format!("{number}:{controllers}"), path.to_owned()))
}

/// The control groups that a process is in, or is below, which are named after the container `id`
/// and which we are not in. Without a group of its own, a container is in its engine's, or in a
/// whole session's.
fn named_after(id: &str, process: &Path, ours: &[Group]) -> io::Result<BTreeSet<Group>> {
    let own = |(hierarchy, path): Group| {
        let root = root(&path, id)?.to_owned();
        let we_are_in_it = ours
            .iter()
            .any(|(h, p)| *h == hierarchy && self::root(p, id) == Some(&root));
        (!we_are_in_it).then_some((hierarchy, root))
    };
    Ok(groups(process)?.into_iter().filter_map(own).collect())
}

/// The control groups that are named after the container `id` and have processes.
///
/// # Errors
/// Where these cannot be looked at.
pub(crate) fn in_use(id: &str) -> io::Result<BTreeSet<Group>> {
    let (mut found, ours) = (BTreeSet::new(), ours()?);
    for process in process::everything()? {
        match named_after(id, &process, &ours) {
            Ok(groups) => found.extend(groups),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// The part of a group's path that leads to the group of the container `id`. Engines and runtimes
/// call it `ID`, `libpod-ID.scope`, `cri-containerd-ID.scope`, `slice:prefix:ID` and the like;
/// systemd and crun make groups below it. `init.scope` is no group of a container `init`.
fn root<'p>(path: &'p str, id: &str) -> Option<&'p str> {
    let mut end: usize = 0;
    for component in path.split_inclusive('/') {
        end = end.saturating_add(component.len());
        let name = component.trim_end_matches('/');
        let is_ours = match name.strip_suffix(".scope").and_then(|n| n.strip_suffix(id)) {
            Some(before) => before.ends_with('-'),
            None => name
                .strip_suffix(id)
                .is_some_and(|before| before.is_empty() || before.ends_with(['-', ':'])),
        };
        if is_ours {
            return path.get(..end).map(|p| p.trim_end_matches('/'));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_group_is_known_by_its_name() {
        for (path, expected) in [
            ("/c1", Some("/c1")),
            ("/c1/init.scope", Some("/c1")),
            (
                "/machine.slice/libpod-c1.scope/container",
                Some("/machine.slice/libpod-c1.scope"),
            ),
            (
                "/a.slice/cri-containerd-c1.scope",
                Some("/a.slice/cri-containerd-c1.scope"),
            ),
            ("/system.slice:docker:c1", Some("/system.slice:docker:c1")),
            ("/kubepods/pod7/c1", Some("/kubepods/pod7/c1")),
            ("/", None),
            ("/abc1", None),
            ("/c1x/y", None),
            ("/libpod-c1.slice", None),
            ("/c1.scope", None),
            ("/system.slice/c1.service", None),
        ] {
            assert_eq!(root(path, "c1"), expected, "{path}");
        }
    }

    #[test]
    fn lines_of_both_versions_of_control_groups_are_read() {
        let of = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(group("0::/a/b"), of("0:", "/a/b"));
        assert_eq!(group("4:cpu,cpuacct:/a:b"), of("4:cpu,cpuacct", "/a:b"));
        assert_eq!(group("1:name=systemd:/"), of("1:name=systemd", "/"));
        assert_eq!(group("x"), None);
    }

    #[test]
    fn a_process_that_is_not_first_in_a_namespace_of_its_own_shares_it() {
        assert!(!is_first_of_its_own(Path::new("/proc/self")).unwrap());
        let members = Members::of(std::process::id(), "no-such-container").unwrap();
        assert_eq!(members.namespace, None);
        let own = Path::new("/proc").join(std::process::id().to_string());
        assert_eq!(members.list().unwrap(), [own]);
    }
}

//! The control groups of a container, by their names.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::containers::procfs;

/// The mount point of cgroup v2, if it is used alone.
const UNIFIED: &str = "/sys/fs/cgroup";

/// What is before the id in the name of conmon's group: podman and CRI-O call it
/// `libpod-conmon-ID.scope` and `crio-conmon-ID.scope` (`moveConmonToCgroup()` in podman's
/// libpod/oci_conmon_linux.go).
const MONITOR: &str = "-conmon-";

/// A control group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cgroup {
    /// Its hierarchy, `ID:CONTROLLERS` as in `/proc/PID/cgroup`. cgroup v2 is `0:`.
    hierarchy: String,
    /// Its path in the hierarchy.
    path: String,
}

impl Cgroup {
    /// Reads a line of `/proc/PID/cgroup`, `ID:CONTROLLERS:PATH` (cgroups(7)).
    fn parse(line: &str) -> Option<Self> {
        let (number, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        Some(Self {
            hierarchy: format!("{number}:{controllers}"),
            path: path.to_owned(),
        })
    }

    /// Whether this is the group `other` or below it.
    pub(crate) fn is_in(&self, other: &Self) -> bool {
        let rest = self.path.strip_prefix(&other.path);
        self.hierarchy == other.hierarchy
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Kills all processes of the group with one write, if the kernel can do that (cgroup v2, since
    /// Linux 5.14). The caller looks at what is left.
    pub(crate) fn kill(&self) {
        let unified = Path::new(UNIFIED);
        if self.hierarchy == "0:" && unified.join("cgroup.controllers").exists() {
            let group = unified.join(self.path.trim_start_matches('/'));
            let _ = std::fs::write(group.join("cgroup.kill"), "1");
        }
    }
}

/// The control groups of a process, one for each hierarchy.
pub(crate) fn of(process: &Path) -> io::Result<Vec<Cgroup>> {
    let text = procfs::read(&process.join("cgroup"))?;
    Ok(text.lines().filter_map(Cgroup::parse).collect())
}

/// The control groups of this process.
pub(crate) fn own() -> io::Result<Vec<Cgroup>> {
    of(Path::new("/proc/self"))
}

/// The control groups of the container `id` that a process is in. A group that this process is in as
/// well is left out: a container without a group of its own is in its engine's or in a session's.
pub(crate) fn of_container(
    id: &str,
    process: &Path,
    own: &[Cgroup],
) -> io::Result<BTreeSet<Cgroup>> {
    let named_after_it = |group: Cgroup| {
        let path = container_path(&group.path, id)?.to_owned();
        let is_own = own.iter().any(|own| {
            own.hierarchy == group.hierarchy && container_path(&own.path, id) == Some(&path)
        });
        let hierarchy = group.hierarchy;
        (!is_own).then_some(Cgroup { hierarchy, path })
    };
    Ok(of(process)?
        .into_iter()
        .filter_map(named_after_it)
        .collect())
}

/// The control groups of the container `id` that have processes.
///
/// # Errors
/// If they cannot be read.
pub(crate) fn all_of_container(id: &str) -> io::Result<BTreeSet<Cgroup>> {
    let (mut found, own) = (BTreeSet::new(), own()?);
    for process in procfs::processes()? {
        match of_container(id, &process, &own) {
            Ok(groups) => found.extend(groups),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// The part of a path that leads to the group of the container `id`. Engines and runtimes name it
/// `ID`, `libpod-ID.scope`, `cri-containerd-ID.scope`, `slice:prefix:ID` and the like; systemd and
/// crun create groups below it. `init.scope` is systemd's, not that of a container `init`. conmon, which
/// watches the container, has a group of its own.
fn container_path<'p>(path: &'p str, id: &str) -> Option<&'p str> {
    let mut end: usize = 0;
    for component in path.split_inclusive('/') {
        end = end.saturating_add(component.len());
        let name = component.trim_end_matches('/');
        let (before, is_its_group) =
            match name.strip_suffix(".scope").and_then(|n| n.strip_suffix(id)) {
                Some(before) => (before, before.ends_with('-')),
                None => match name.strip_suffix(id) {
                    Some(before) => (before, before.is_empty() || before.ends_with(['-', ':'])),
                    None => continue,
                },
            };
        if is_its_group && !before.ends_with(MONITOR) {
            return path.get(..end).map(|p| p.trim_end_matches('/'));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_container_has_its_id() {
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
            ("/machine.slice/libpod-conmon-c1.scope", None),
            ("/system.slice/crio-conmon-c1.scope", None),
            ("/kubepods/pod7/crio-conmon-c1", None),
            ("/conmon-c1.scope", Some("/conmon-c1.scope")),
            ("/c1.scope", None),
            ("/system.slice/c1.service", None),
        ] {
            assert_eq!(container_path(path, "c1"), expected, "{path}");
        }
    }

    #[test]
    fn lines_of_cgroup_v1_and_v2_are_read() {
        let of = |hierarchy: &str, path: &str| {
            Some(Cgroup {
                hierarchy: hierarchy.to_owned(),
                path: path.to_owned(),
            })
        };
        assert_eq!(Cgroup::parse("0::/a/b"), of("0:", "/a/b"));
        assert_eq!(
            Cgroup::parse("4:cpu,cpuacct:/a:b"),
            of("4:cpu,cpuacct", "/a:b")
        );
        assert_eq!(Cgroup::parse("1:name=systemd:/"), of("1:name=systemd", "/"));
        assert_eq!(Cgroup::parse("x"), None);
    }

    #[test]
    fn a_group_is_in_itself_and_in_its_parents() {
        let of = |line: &str| Cgroup::parse(line).unwrap();
        assert!(of("0::/a/b").is_in(&of("0::/a")));
        assert!(of("0::/a").is_in(&of("0::/a")));
        assert!(!of("0::/ab").is_in(&of("0::/a")));
        assert!(!of("1:cpu:/a").is_in(&of("0::/a")));
    }
}

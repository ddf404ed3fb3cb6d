//! The container in the name of a control group. Pure.

/// A container that a control group is named after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupId {
    /// Its id.
    pub(super) id: String,
    /// Whether the group is one that a user without root made, who can give it any name.
    pub(super) by_user: bool,
}

/// The container of a process, from its `/proc/PID/cgroup`. `known`: whether there is a container with
/// this id; ids that are not 64 hexadecimal digits are found only so.
///
/// The outermost group counts: a container can make groups of any name below its own.
pub(super) fn of(text: &str, known: impl Fn(&str) -> bool) -> Option<GroupId> {
    // cgroup v2 is `0::`; with cgroup v1, systemd's hierarchy and some others have the same paths.
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.into_iter().find_map(|path| of_path(path, &known))
}

fn of_path(path: &str, known: &impl Fn(&str) -> bool) -> Option<GroupId> {
    let mut by_user = false;
    for component in path.split('/') {
        if component.starts_with("user@") {
            by_user = true;
        }
        if let Some(id) = of_component(component, known) {
            return Some(GroupId {
                id: id.to_owned(),
                by_user,
            });
        }
    }
    None
}

/// `docker-ID.scope`, `cri-containerd-ID.scope`, `libpod-ID`, `system.slice:docker:ID`, `ID`.
fn of_component<'p>(component: &'p str, known: &impl Fn(&str) -> bool) -> Option<&'p str> {
    // What the kernel appends to a group that was removed.
    let name = component.strip_suffix(" (deleted)").unwrap_or(component);
    // The monitor of a container is not in it.
    if ["libpod-conmon-", "crio-conmon-"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
    {
        return None;
    }
    let (name, is_scope) = match name.strip_suffix(".scope") {
        Some(name) => (name, true),
        None => (name, false),
    };
    if [".slice", ".service", ".mount", ".socket"]
        .iter()
        .any(|suffix| name.ends_with(suffix))
    {
        return None;
    }
    // A scope has a prefix: `init.scope` is systemd's.
    let whole = (!is_scope).then_some(name);
    let marks = name.char_indices().filter(|(_, c)| matches!(c, '-' | ':'));
    let parts = marks.filter_map(|(at, _)| name.get(at.saturating_add(1)..));
    whole
        .into_iter()
        .chain(parts)
        .find(|id| is_long(id) || known(id))
}

/// Whether it is an id as engines make them.
fn is_long(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_engines() {
        let id = "0123456789abcdef".repeat(4);
        let other = "f".repeat(64);
        let known = |id: &str| ["web", "my-web"].contains(&id);
        let found = |path: &str| {
            let path = path.replace("ID", &id).replace("OTHER", &other);
            of(&format!("0::{path}\n"), known)
        };
        for path in [
            "/system.slice/docker-ID.scope",
            "/docker/ID",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7_a.slice/cri-containerd-ID.scope",
            "/kubepods/burstable/pod7/ID",
            "/kubepods.slice/kubepods-pod7.slice/crio-ID.scope",
            "/kubepods.slice/kubepods-pod7.slice/crio-ID.scope/container",
            "/machine.slice/libpod-ID.scope/container",
            "/machine.slice/libpod-ID.scope/container/nested",
            "/libpod_parent/libpod-ID",
            "/system.slice/nerdctl-ID.scope",
            "/default/ID",
            "/system.slice:docker:ID",
            "/system.slice/docker-ID.scope (deleted)",
            // What a container names its own groups does not count.
            "/docker/ID/docker/OTHER",
            "/docker/ID/web",
        ] {
            let expected = GroupId {
                id: id.clone(),
                by_user: false,
            };
            assert_eq!(found(path), Some(expected), "{path}");
        }
        for (path, name) in [
            ("/web", "web"),
            ("/user.slice/runc-web.scope", "web"),
            ("/system.slice:runc:web", "web"),
            ("/my-web", "my-web"),
            ("/runc-my-web.scope", "my-web"),
        ] {
            assert_eq!(
                found(path).map(|found| found.id),
                Some(name.to_owned()),
                "{path}"
            );
        }
        let user =
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container";
        assert!(found(user).unwrap().by_user);
        for path in [
            "/",
            "/init.scope",
            "/system.slice/ssh.service",
            "/machine.slice/libpod-conmon-ID.scope",
            "/web.scope",
            "/web.slice",
            "/other",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn version_1_has_one_line_for_each_hierarchy() {
        let id = "ab".repeat(32);
        let text =
            format!("12:pids:/\n4:cpu,cpuacct:/docker/{id}\n1:name=systemd:/docker/{id}\n0::/\n");
        assert_eq!(of(&text, |_| false).map(|found| found.id), Some(id));
        assert_eq!(of("", |_| true), None);
    }
}

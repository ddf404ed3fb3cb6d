//! Rules for mounts and device nodes.

use crate::learning::starting_profile::danger;
use crate::learning::starting_profile::observed::{Observed, Point};
use crate::learning::starting_profile::pattern::{below, literal};
use crate::learning::starting_profile::section::Section;
use crate::learning::starting_profile::spec::{ContainerSpec, SpecMount};

/// Files that engines write and mount, so that containers read them.
const OF_ENGINES: [&str; 2] = ["/run/.containerenv", "/.dockerenv"];

/// What every container has; the rules for all containers allow it.
const USUAL: [&str; 12] = [
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/dev/console",
    "/dev/full",
    "/dev/null",
    "/dev/ptmx",
    "/dev/random",
    "/dev/tty",
    "/dev/urandom",
    "/dev/zero",
    "/dev",
];

/// What the mounts of a container allow.
pub(super) fn section(spec: &ContainerSpec, observed: &Observed) -> Section {
    let mut section = Section::new("Mounts of the container.");
    for mount in spec.mounts() {
        let point = observed.point(mount);
        match mount.kind() {
            // Which files of them are needed is part of the rules for all containers, or learnt.
            "proc" | "sysfs" => {}
            "cgroup" | "cgroup2" => section.rule(below(&point.path, "/{,**} r")),
            "devpts" => section.rule(below(&point.path, "/{,*} rw")),
            _ if USUAL.contains(&point.path.as_str()) => {}
            _ => data(&mut section, spec, mount, &point),
        }
    }
    section
}

/// A mount with files: of the node, of a volume, or in memory.
fn data(section: &mut Section, spec: &ContainerSpec, mount: &SpecMount, point: &Point) {
    let path = point.path.as_str();
    if path.is_empty() || path == "/" || spec.is_masked(path) {
        return;
    }
    let read_only = mount.is_read_only()
        || spec.is_made_read_only(path)
        || OF_ENGINES.contains(&path)
        // An init that the engine mounts is executed, not written.
        || spec.programs().iter().flatten().any(|program| program == path);
    let access = if read_only { "r" } else { "rwkl" };
    let mut rules = Vec::new();
    if point.is_directory != Some(true) {
        // A socket is connected to with rw, whatever the mount is (unix_find_bsd, net/unix/af_unix.c).
        rules.push(format!(
            "{} {}",
            literal(path),
            access.trim_end_matches('l')
        ));
    }
    if point.is_directory != Some(false) {
        rules.push(format!("{} r", below(path, "/")));
        rules.push(format!("{} {access}", below(path, "/**")));
    }
    let source = if mount.is_bind() {
        mount.source()
    } else {
        "tmpfs"
    };
    match danger::of_bind(source, path) {
        None => section.rules(rules),
        Some(why) => section.held_back(rules, why),
    }
}

/// What the additional device nodes of a container allow.
pub(super) fn devices(spec: &ContainerSpec) -> Section {
    let mut section = Section::new("Devices of the container.");
    for device in spec.devices() {
        let path = device.path.as_deref().unwrap_or_default();
        if !path.starts_with('/') || USUAL.contains(&path) {
            continue;
        }
        let rule = format!("{} rw", literal(path));
        match danger::of_device(path, device.r#type.as_deref().unwrap_or_default()) {
            None => section.rule(rule),
            Some(why) => section.held_back(vec![rule], why),
        }
    }
    section
}

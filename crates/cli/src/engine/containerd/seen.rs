//! What containerd's files say about runtimes of ours, and what is wrong with it. Pure.

use std::path::Path;

use toml_edit::Item;

use super::{OLD, Read, SECTIONS, TYPES, disabled, read};
use crate::engine::layout::Way;
use crate::engine::seen::{Handler, Mistake, Seen};
use crate::engine::{Text, is_ours, pattern, tables};
use oci_apparmor::error::{Result, quoted};

/// What the files say. `strays` lie where drop-ins do, and no file imports them.
pub(in crate::engine) fn seen(
    files: &[Text],
    strays: &[Text],
    ours: &dyn Fn(&str) -> bool,
) -> Result<Seen> {
    let (version, all) = read(files)?;
    let mut seen = Seen::default();
    let in_force = all.iter().rposition(Read::has_section);
    let named = all.iter().rev().find_map(Read::default);
    let default = named.unwrap_or("runc");
    seen.default = Some(default.to_owned());
    let program = |item: &Item| {
        item.get("options")?
            .get("BinaryName")?
            .as_str()
            .map(str::to_owned)
    };
    let mut any = false;
    for (index, read) in all.iter().enumerate() {
        wrong_sections(read, ours, &mut seen);
        for (name, item) in read.runtimes() {
            any = true;
            let called = program(item).filter(|p| !p.is_empty());
            let beside = item.get("BinaryName").and_then(Item::as_str);
            if called.is_none() && beside.is_some_and(ours) {
                seen.mistakes.push(Mistake::failure(
                    format!("{} has BinaryName of the runtime {} beside runtime_type, where containerd ignores it", read.path.display(), quoted(name)),
                    format!("put it into the section runtimes.{name}.options"),
                ));
            }
            if called.as_deref().is_some_and(ours) {
                if in_force.is_some_and(|in_force| in_force > index) && version < 3 {
                    seen.mistakes.push(Mistake::warning(
                        format!("{} defines the runtime {}, but a file that is imported later has the plugin's section as well, which replaces it under containerd before 2.1", read.path.display(), quoted(name)),
                        "run: oci-apparmor configure containerd",
                    ));
                }
                let wrapped = if default == name { "runc" } else { default };
                let wrapped = all.iter().rev().find_map(|read| read.runtime(wrapped));
                judge(read.path, name, item, wrapped, &mut seen);
            }
            seen.handlers.push(Handler {
                name: name.to_owned(),
                program: called,
                file: read.path.to_owned(),
            });
        }
    }
    // Behind a drop-in there are a distribution's own runtimes, which are not written down.
    let whole = files.iter().all(|file| Way::of(&file.path) != Way::DropIn);
    if whole && any && version < 3 && !seen.handlers.iter().any(|h| h.name == default) {
        seen.mistakes.push(Mistake::failure(
            format!("the default runtime {} is not defined, and containerd 1.x has no runtimes but those in its configuration: its CRI plugin does not start", quoted(default)),
            format!("add a section runtimes.{default} with runtime_type = \"{}\"", TYPES[0]),
        ));
    }
    for stray in strays.iter().filter(|stray| {
        stray
            .text
            .lines()
            .any(|l| !l.trim_start().starts_with('#') && is_ours(l))
    }) {
        seen.mistakes.push(Mistake::failure(
            format!("{} is imported by no file of containerd", stray.path.display()),
            "add its directory to imports in config.toml, or run: oci-apparmor configure containerd",
        ));
    }
    if version == 1
        && seen
            .handlers
            .iter()
            .any(|h| h.program.as_deref().is_some_and(ours))
    {
        seen.mistakes
            .push(Mistake::warning(OLD, "keep containerd 1.x, or migrate"));
    }
    for note in disabled(&all) {
        seen.mistakes.push(Mistake::warning(
            note,
            "take the CRI plugin out of disabled_plugins, if this node is for Kubernetes",
        ));
    }
    Ok(seen)
}

/// Runtimes of ours below the name that the plugin has in another version.
fn wrong_sections(read: &Read<'_>, ours: &dyn Fn(&str) -> bool, seen: &mut Seen) {
    for section in SECTIONS.iter().filter(|s| **s != read.section) {
        let path = ["plugins", section, "containerd", "runtimes"];
        for (name, item) in tables::entries(&read.document, &path) {
            let program = item
                .get("options")
                .and_then(|o| o.get("BinaryName")?.as_str());
            if program.is_some_and(ours) {
                seen.mistakes.push(Mistake::failure(
                    format!("{} has the runtime {} in the section plugins.\"{section}\", which its version of the configuration does not have: containerd ignores it", read.path.display(), quoted(name)),
                    format!("move it to plugins.\"{}\"", read.section),
                ));
            }
        }
    }
}

/// What is wrong with one runtime of ours.
fn judge(path: &Path, name: &str, item: &Item, wrapped: Option<&Item>, seen: &mut Seen) {
    let patterns = tables::texts(item.get("pod_annotations"));
    let missing = pattern::missing(&patterns);
    if !missing.is_empty() {
        let idle = pattern::idle(&patterns);
        let also = match idle.is_empty() {
            true => String::new(),
            false => format!(" ({} matches none: * stops at a slash)", idle.join(", ")),
        };
        let wanted: Vec<String> = missing.iter().map(|p| format!("\"{p}\"")).collect();
        seen.mistakes.push(Mistake::failure(
            format!("{}: containerd calls us by the runtime {}, but does not pass all of our annotations on{also}", path.display(), quoted(name)),
            format!("add {} to its pod_annotations", wanted.join(", ")),
        ));
    }
    let kind = item
        .get("runtime_type")
        .and_then(Item::as_str)
        .unwrap_or_default();
    if !TYPES.contains(&kind) {
        seen.mistakes.push(Mistake::failure(
            format!(
                "{}: the runtime {} is of the type {}, whose shim takes no BinaryName",
                path.display(),
                quoted(name),
                quoted(kind)
            ),
            format!("set runtime_type = \"{}\"", TYPES[0]),
        ));
    }
    let systemd = |item: &Item| item.get("options")?.get("SystemdCgroup")?.as_bool();
    let (has, had) = (systemd(item), wrapped.and_then(systemd));
    if had == Some(true) && has != Some(true) {
        seen.mistakes.push(Mistake::failure(
            format!("{}: the runtime {} lacks SystemdCgroup = true, which the one in whose place it stands has", path.display(), quoted(name)),
            "add it to its options: two cgroup drivers on one node do not agree",
        ));
    }
}

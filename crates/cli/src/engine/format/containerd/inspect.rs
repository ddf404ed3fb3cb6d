//! What containerd's files say about runtimes, and what is wrong with those that call the wrapper.

use std::path::Path;

use toml_edit::Item;

use super::parsed::{ENABLE, MIGRATE, Parsed, SECTIONS, TYPES, VERSION_1, disabled, parse};
use crate::engine::config_kind::ConfigKind;
use crate::engine::edit::TextFile;
use crate::engine::format::{pod_annotations, tables};
use crate::engine::inspection::{Handler, Inspection, Problem};
use crate::engine::wrapper;
use oci_apparmor::error::{Result, quoted};

/// What the files say. No file imports those in `ignored`, which stand in `conf.d`.
pub(crate) fn inspect(
    files: &[TextFile],
    ignored: &[TextFile],
    ours: &dyn Fn(&str) -> bool,
) -> Result<Inspection> {
    let (version, all) = parse(files)?;
    let mut found = Inspection::default();
    let in_force = all.iter().rposition(Parsed::has_section);
    let default = all.iter().rev().find_map(Parsed::default).unwrap_or("runc");
    found.default = Some(default.to_owned());
    let mut any = false;
    for (index, file) in all.iter().enumerate() {
        wrong_sections(file, ours, &mut found);
        for (name, runtime) in file.runtimes() {
            any = true;
            let program = program_of(runtime);
            if program.is_none() {
                misplaced_program(file.path, name, runtime, ours, &mut found);
            }
            if program.as_deref().is_some_and(ours) {
                if in_force.is_some_and(|in_force| in_force > index) && version < 3 {
                    found.problems.push(overridden(file.path, name));
                }
                let replaced = if default == name { "runc" } else { default };
                let replaced = all.iter().rev().find_map(|file| file.runtime(replaced));
                check_runtime(file.path, name, runtime, replaced, &mut found);
            }
            found.handlers.push(Handler {
                name: name.to_owned(),
                program,
                file: file.path.to_owned(),
            });
        }
    }
    // Beside a drop-in a distribution has runtimes of its own, which no file names.
    let whole = files
        .iter()
        .all(|file| ConfigKind::of(&file.path) != ConfigKind::DropIn);
    if whole && any && version < 3 && !found.handlers.iter().any(|h| h.name == default) {
        found.problems.push(Problem::failure(
            format!(
                "the default runtime {} is not defined, so the CRI plugin of containerd 1.x does \
                 not start",
                quoted(default)
            ),
            format!(
                "add a section runtimes.{default} with runtime_type = \"{}\"",
                TYPES[0]
            ),
        ));
    }
    found
        .problems
        .extend(ignored.iter().filter_map(not_imported));
    let mut programs = found.handlers.iter().filter_map(|h| h.program.as_deref());
    if version == 1 && programs.any(ours) {
        found.problems.push(Problem::warning(VERSION_1, MIGRATE));
    }
    if let Some(disabled) = disabled(&all) {
        found.problems.push(Problem::warning(disabled, ENABLE));
    }
    Ok(found)
}

/// The program that the shim of a runtime calls, if the file names one.
fn program_of(runtime: &Item) -> Option<String> {
    let program = runtime.get("options")?.get("BinaryName")?.as_str()?;
    Some(program.to_owned()).filter(|p| !p.is_empty())
}

/// Reports `BinaryName` outside of `options`.
fn misplaced_program(
    path: &Path,
    name: &str,
    runtime: &Item,
    ours: &dyn Fn(&str) -> bool,
    found: &mut Inspection,
) {
    let outside = runtime.get("BinaryName").and_then(Item::as_str);
    if outside.is_some_and(ours) {
        found.problems.push(Problem::failure(
            format!(
                "{}: containerd ignores BinaryName of the runtime {}, because it is beside \
                 runtime_type",
                path.display(),
                quoted(name)
            ),
            format!("move it to the section runtimes.{name}.options"),
        ));
    }
}

/// A runtime in another section than the last one.
fn overridden(path: &Path, name: &str) -> Problem {
    Problem::warning(
        format!(
            "{} defines the runtime {}, but containerd before 2.1 ignores it, because a file that \
             is imported later has the plugin's section as well",
            path.display(),
            quoted(name)
        ),
        "run: oci-apparmor configure containerd",
    )
}

/// A file in `conf.d` that names the wrapper, and that no file imports.
fn not_imported(file: &TextFile) -> Option<Problem> {
    let names_wrapper = |line: &str| !line.trim_start().starts_with('#') && wrapper::is_named(line);
    if !file.text.lines().any(names_wrapper) {
        return None;
    }
    let directory = file.path.parent().unwrap_or(Path::new("/"));
    Some(Problem::failure(
        format!("containerd does not import {}", file.path.display()),
        format!(
            "add \"{}/*.toml\" to imports in config.toml, or run: oci-apparmor configure \
             containerd",
            directory.display()
        ),
    ))
}

/// Reports runtimes in the section that the plugin has in another version of the configuration.
fn wrong_sections(file: &Parsed<'_>, ours: &dyn Fn(&str) -> bool, found: &mut Inspection) {
    for section in SECTIONS.iter().filter(|s| **s != file.section) {
        let path = ["plugins", section, "containerd", "runtimes"];
        for (name, item) in tables::entries(&file.document, &path) {
            let program = item
                .get("options")
                .and_then(|o| o.get("BinaryName")?.as_str());
            if program.is_some_and(ours) {
                found.problems.push(Problem::failure(
                    format!(
                        "{} has the runtime {} in the section plugins.\"{section}\", which \
                         containerd ignores in this version of the configuration",
                        file.path.display(),
                        quoted(name)
                    ),
                    format!("move it to plugins.\"{}\"", file.section),
                ));
            }
        }
    }
}

/// Reports what is wrong with a runtime that calls the wrapper. `replaced` is the runtime that it
/// replaces.
fn check_runtime(
    path: &Path,
    name: &str,
    runtime: &Item,
    replaced: Option<&Item>,
    found: &mut Inspection,
) {
    let patterns = tables::texts(runtime.get("pod_annotations"));
    let missing = pod_annotations::missing(&patterns);
    if !missing.is_empty() {
        let useless = pod_annotations::useless(&patterns);
        let also = match useless.is_empty() {
            true => String::new(),
            false => format!(
                " ({} matches none of them, because * does not match a slash)",
                useless.join(", ")
            ),
        };
        let wanted: Vec<String> = missing.iter().map(|p| format!("\"{p}\"")).collect();
        found.problems.push(Problem::failure(
            format!(
                "{}: the runtime {} does not pass on all annotations of oci-apparmor{also}",
                path.display(),
                quoted(name)
            ),
            format!("add {} to its pod_annotations", wanted.join(", ")),
        ));
    }
    let kind = runtime
        .get("runtime_type")
        .and_then(Item::as_str)
        .unwrap_or_default();
    if !TYPES.contains(&kind) {
        found.problems.push(Problem::failure(
            format!(
                "{}: the runtime {} has runtime_type {}, whose shim ignores BinaryName",
                path.display(),
                quoted(name),
                quoted(kind)
            ),
            format!("set runtime_type = \"{}\"", TYPES[0]),
        ));
    }
    let systemd = |item: &Item| item.get("options")?.get("SystemdCgroup")?.as_bool();
    if replaced.and_then(systemd) == Some(true) && systemd(runtime) != Some(true) {
        found.problems.push(Problem::failure(
            format!(
                "{}: the runtime {} lacks SystemdCgroup = true, which the runtime that it replaces \
                 has",
                path.display(),
                quoted(name)
            ),
            format!(
                "add SystemdCgroup = true to the section runtimes.{name}.options, because all \
                 runtimes of a node must use the same cgroup driver"
            ),
        ));
    }
}

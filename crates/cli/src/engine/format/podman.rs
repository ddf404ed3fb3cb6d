//! podman: a runtime in a drop-in.
//!
//! podman reads `containers.conf` of the distribution, that of the node, and the drop-ins in the
//! order of their names. It merges sections. A list replaces the list of an earlier file, unless it
//! has `{append=true}`, which podman knows since 4.8. So our drop-in repeats the entries of lists
//! that are in force without it.

use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item};

use super::tables;
use crate::engine::edit::{Edit, HEADER, TextFile};
use crate::engine::inspection::{DEFAULT_HOOKS, Handler, Inspection, Problem};
use crate::engine::requested::Requested;
use crate::engine::wrapper;
use oci_apparmor::error::{Result, quoted};
use oci_apparmor::settings::RuntimeKind;

const RUNTIMES: [&str; 2] = ["engine", "runtimes"];
const DEFAULT: [&str; 2] = ["engine", "runtime"];
const JSON: &str = "runtime_supports_json";
const NO_CGROUPS: &str = "runtime_supports_nocgroups";

/// The defaults of these lists, of all versions together (`default.go` in containers/common). Names
/// of runtimes that are not installed have no effect.
const JSON_DEFAULT: [&str; 7] = ["crun", "runc", "kata", "runsc", "youki", "krun", "ocijail"];
const NO_CGROUPS_DEFAULT: [&str; 2] = ["crun", "krun"];

/// The drop-in at `path`. `files` are all other files, in the order in which they are read.
pub(super) fn configure(path: &Path, files: &[TextFile], requested: &Requested) -> Result<Edit> {
    let all = read(files)?;
    let find = |name: &str| {
        let keys = [RUNTIMES[0], RUNTIMES[1], name];
        let list = |d| tables::texts(tables::at(d, &keys)).into_iter().next();
        all.iter().rev().find_map(list)
    };
    requested.check_unused(find(&requested.name).as_deref(), path)?;
    let named = all.iter().rev().find_map(|d| tables::text(d, &DEFAULT));
    let named = named.filter(|name| !name.is_empty());
    let program = named.map(|name| find(name).unwrap_or_else(|| name.to_owned()));
    let kind = requested.runtime_kind(named.unwrap_or_default(), program.as_deref())?;
    let ours = requested.programs.join(kind.name());

    let mut document = DocumentMut::new();
    let engine = tables::table(path, &mut document, &["engine"])?;
    engine.set_implicit(false);
    if requested.default {
        tables::set(engine, DEFAULT[1], requested.name.as_str());
    }
    let mut lists = vec![(JSON, JSON_DEFAULT.as_slice())];
    if kind == RuntimeKind::Crun {
        lists.push((NO_CGROUPS, &NO_CGROUPS_DEFAULT));
    }
    for (key, without) in lists {
        let mut names = list(&all, key, without);
        names.push(requested.name.clone());
        tables::set(engine, key, tables::list(names));
    }
    let mut section = tables::section("", "", []);
    tables::set(
        &mut section,
        &requested.name,
        tables::list([ours.to_string_lossy()]),
    );
    engine.insert(RUNTIMES[1], Item::Table(section));
    Ok(Edit {
        file: TextFile {
            path: path.to_owned(),
            text: format!("{HEADER}{}", document.to_string().trim_start()),
        },
        program: ours,
        replaces: program,
        former_default: None,
        notes: vec![format!(
            "podman stores the name of its runtime with each container; containers that were created with the runtime {} need it until they are removed",
            quoted(&requested.name)
        )],
    })
}

fn read(files: &[TextFile]) -> Result<Vec<DocumentMut>> {
    files
        .iter()
        .map(|f| tables::parse(&f.path, &f.text))
        .collect()
}

/// A list in the section `engine` that is in force after these files.
fn list(all: &[DocumentMut], key: &str, without: &[&str]) -> Vec<String> {
    let mut list: Vec<String> = without.iter().map(|name| (*name).to_owned()).collect();
    for document in all {
        let Some(item) = tables::at(document, &["engine", key]) else {
            continue;
        };
        let mut values = item.as_array().into_iter().flat_map(|array| array.iter());
        let appends = values.any(|value| {
            let table = value.as_inline_table();
            table.and_then(|t| t.get("append")?.as_bool()) == Some(true)
        });
        if !appends {
            list.clear();
        }
        list.extend(tables::texts(Some(item)));
    }
    list
}

/// The text without the runtime `name`.
pub(super) fn without(file: &TextFile, name: &str) -> Result<String> {
    let mut document = tables::parse(&file.path, &file.text)?;
    tables::take(&mut document, &[RUNTIMES[0], RUNTIMES[1], name]);
    if tables::text(&document, &DEFAULT) == Some(name) {
        tables::take(&mut document, &DEFAULT);
    }
    for key in [JSON, NO_CGROUPS] {
        let path = ["engine", key];
        let mut names = tables::texts(tables::at(&document, &path));
        let all = names.len();
        names.retain(|n| n != name);
        if names.len() < all {
            let engine = tables::table(&file.path, &mut document, &["engine"])?;
            tables::set(engine, key, tables::list(names));
        }
    }
    Ok(document.to_string())
}

/// Whether a file configures nothing but these lists, which then have their default entries.
pub(super) fn is_empty(file: &TextFile) -> Result<bool> {
    let mut document = tables::parse(&file.path, &file.text)?;
    for key in [JSON, NO_CGROUPS] {
        tables::take(&mut document, &["engine", key]);
    }
    Ok(tables::is_empty(document.as_table()))
}

/// What the files say. podman does not read those in `ignored`: they stand beside drop-ins, and
/// their names do not end in `.conf`.
pub(super) fn inspect(
    files: &[TextFile],
    ignored: &[TextFile],
    ours: &dyn Fn(&str) -> bool,
) -> Result<Inspection> {
    let all = read(files)?;
    let mut found = Inspection {
        hooks: list(&all, "hooks_dir", &[DEFAULT_HOOKS])
            .into_iter()
            .map(PathBuf::from)
            .collect(),
        ..Inspection::default()
    };
    for (file, document) in files.iter().zip(&all) {
        if let Some(default) = tables::text(document, &DEFAULT).filter(|d| !d.is_empty()) {
            // podman takes a path for a runtime with the name of its last part.
            let name = default.rsplit('/').next().unwrap_or(default);
            if default != name {
                found.handlers.push(handler(name, Some(default), file));
            }
            found.default = Some(name.to_owned());
        }
        for (name, item) in tables::entries(document, &RUNTIMES) {
            let program = tables::texts(Some(item)).into_iter().next();
            found.handlers.retain(|h| h.name != name);
            found.handlers.push(handler(name, program.as_deref(), file));
        }
        for path in [&["runtimes"][..], &["containers", "runtimes"]] {
            for (name, item) in tables::entries(document, path) {
                if tables::texts(Some(item)).iter().any(|p| ours(p)) {
                    found.problems.push(Problem::failure(
                        format!(
                            "{} has the runtime {} in the section {}, which podman ignores",
                            file.path.display(),
                            quoted(name),
                            path.join(".")
                        ),
                        "move it to engine.runtimes",
                    ));
                }
            }
        }
    }
    let (json, no_cgroups) = (
        list(&all, JSON, &JSON_DEFAULT),
        list(&all, NO_CGROUPS, &NO_CGROUPS_DEFAULT),
    );
    for handler in found
        .handlers
        .iter()
        .filter(|h| h.program.as_deref().is_some_and(ours))
    {
        let crun = handler
            .program
            .as_deref()
            .is_some_and(|p| p.ends_with("/crun"));
        for (key, list, needed, why) in [
            (
                JSON,
                &json,
                true,
                "podman does not show why it refuses a container",
            ),
            (
                NO_CGROUPS,
                &no_cgroups,
                crun,
                "podman refuses --cgroups=disabled",
            ),
        ] {
            if needed && !list.contains(&handler.name) {
                found.problems.push(Problem::warning(
                    format!(
                        "the runtime {} of {} is not in {key}, so {why}",
                        quoted(&handler.name),
                        handler.file.display()
                    ),
                    format!(
                        "add {} to {key} in the section [engine], and keep the names that are there",
                        quoted(&handler.name)
                    ),
                ));
            }
        }
    }
    for file in ignored.iter().filter(|f| wrapper::is_named(&f.text)) {
        found.problems.push(Problem::failure(
            format!(
                "{} does not end in .conf, so podman does not read it",
                file.path.display()
            ),
            format!("run: mv {0} {0}.conf", file.path.display()),
        ));
    }
    Ok(found)
}

fn handler(name: &str, program: Option<&str>, file: &TextFile) -> Handler {
    Handler {
        name: name.to_owned(),
        program: program.map(str::to_owned),
        file: file.path.clone(),
    }
}

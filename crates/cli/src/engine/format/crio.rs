//! CRI-O: a runtime in a drop-in.
//!
//! CRI-O reads `crio.conf` and then the files of `crio.conf.d` in the order of their names. If
//! several define a runtime, the last one replaces the others. CRI-O copies all annotations of a pod
//! to its containers, so no setting is needed for those.

use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item};

use super::tables;
use crate::engine::edit::{Edit, HEADER, TextFile};
use crate::engine::inspection::{DEFAULT_HOOKS, Handler, Inspection, Problem};
use crate::engine::requested::Requested;
use oci_apparmor::error::{Error, Kind, Result, quoted};

const RUNTIMES: [&str; 3] = ["crio", "runtime", "runtimes"];
const DEFAULT: [&str; 3] = ["crio", "runtime", "default_runtime"];
const HOOKS_DIR: [&str; 3] = ["crio", "runtime", "hooks_dir"];

/// The keys of a runtime that are not inherited: they differ, or belong to another type.
const OWN: [&str; 3] = ["runtime_path", "runtime_type", "runtime_config_path"];

/// The drop-in at `path`. `files` are all other files, in the order in which they are read.
pub(super) fn configure(path: &Path, files: &[TextFile], requested: &Requested) -> Result<Edit> {
    let all = read(files)?;
    let named = all.iter().rev().find_map(|d| tables::text(d, &DEFAULT));
    let replaced = named.unwrap_or(requested.usual.name());
    let find = |name: &str| {
        let keys = [RUNTIMES[0], RUNTIMES[1], RUNTIMES[2], name];
        all.iter().rev().find_map(|d| tables::at(d, &keys))
    };
    if let Some(item) = find(&requested.name) {
        let program = item.get("runtime_path").and_then(Item::as_str);
        requested.check_unused(Some(program.unwrap_or(&requested.name)), path)?;
    }
    let found = find(replaced);
    let kind = found.and_then(|item| item.get("runtime_type")?.as_str());
    let other_kind = kind.filter(|kind| !["", "oci"].contains(kind));
    if let (Some(kind), true) = (other_kind, requested.default) {
        return Err(Error::new(
            Kind::Policy,
            format!(
                "the default runtime {} has runtime_type {}, not oci",
                quoted(replaced),
                quoted(kind)
            ),
        )
        .with_remedy("leave out --set-default, and name the wrapper's runtime in a RuntimeClass"));
    }
    let program = found.and_then(|item| item.get("runtime_path")?.as_str());
    // Without a path, CRI-O searches for a program of the runtime's name.
    let program = program.filter(|p| !p.is_empty()).or(named);
    let kind = requested.runtime_kind(replaced, program.filter(|_| other_kind.is_none()))?;
    let ours = requested.programs.join(kind.name());

    let mut document = DocumentMut::new();
    let runtime = tables::table(path, &mut document, &RUNTIMES[..2])?;
    if requested.default {
        runtime.set_implicit(false);
        tables::set(runtime, DEFAULT[2], requested.name.as_str());
    }
    let own = [
        ("runtime_path", ours.to_string_lossy().into_owned()),
        ("runtime_type", "oci".to_owned()),
    ];
    let mut entries: Vec<_> = own
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.into()))
        .collect();
    let mut nested = Vec::new();
    let inherited = found
        .filter(|_| other_kind.is_none())
        .and_then(Item::as_table_like);
    for (key, item) in inherited.into_iter().flat_map(|table| table.iter()) {
        match item {
            Item::Value(value) if !OWN.contains(&key) => {
                entries.push((key.to_owned(), value.clone()))
            }
            Item::Table(table) => nested.push((key.to_owned(), table)),
            _ => {}
        }
    }
    let mut section = tables::section("", "", entries);
    for (key, table) in nested {
        let entries = table
            .iter()
            .filter_map(|(k, v)| Some((k.to_owned(), v.as_value()?.clone())));
        section.insert(&key, Item::Table(tables::section("", "", entries)));
    }
    tables::table(path, &mut document, &RUNTIMES)?.insert(&requested.name, Item::Table(section));
    Ok(Edit {
        file: TextFile {
            path: path.to_owned(),
            text: format!("{HEADER}{}", document.to_string().trim_start()),
        },
        program: ours,
        replaces: program.filter(|_| other_kind.is_none()).map(str::to_owned),
        former_default: None,
        notes: Vec::new(),
    })
}

fn read(files: &[TextFile]) -> Result<Vec<DocumentMut>> {
    files
        .iter()
        .map(|f| tables::parse(&f.path, &f.text))
        .collect()
}

/// The text without the runtime `name`.
pub(super) fn without(file: &TextFile, name: &str) -> Result<String> {
    let mut document = tables::parse(&file.path, &file.text)?;
    tables::take(
        &mut document,
        &[RUNTIMES[0], RUNTIMES[1], RUNTIMES[2], name],
    );
    if tables::text(&document, &DEFAULT) == Some(name) {
        tables::take(&mut document, &DEFAULT);
    }
    Ok(document.to_string())
}

/// Whether a file configures nothing.
pub(super) fn is_empty(file: &TextFile) -> Result<bool> {
    let document = tables::parse(&file.path, &file.text)?;
    Ok(tables::is_empty(document.as_table()))
}

/// What the files say.
pub(super) fn inspect(files: &[TextFile], ours: &dyn Fn(&str) -> bool) -> Result<Inspection> {
    let mut found = Inspection {
        hooks: vec![PathBuf::from(DEFAULT_HOOKS)],
        ..Inspection::default()
    };
    for (file, document) in files.iter().zip(read(files)?) {
        let path = file.path.display();
        if let Some(directories) = tables::at(&document, &HOOKS_DIR) {
            let directories = tables::texts(Some(directories));
            found.hooks = directories.into_iter().map(PathBuf::from).collect();
        }
        if let Some(default) = tables::text(&document, &DEFAULT) {
            found.default = Some(default.to_owned());
        }
        for (name, item) in tables::entries(&document, &RUNTIMES) {
            let program = item.get("runtime_path").and_then(Item::as_str);
            let kind = item
                .get("runtime_type")
                .and_then(Item::as_str)
                .unwrap_or("oci");
            if program.is_some_and(ours) && !["", "oci"].contains(&kind) {
                found.problems.push(Problem::failure(
                    format!(
                        "{path}: the runtime {} has runtime_type {}, not oci",
                        quoted(name),
                        quoted(kind)
                    ),
                    "set runtime_type = \"oci\"",
                ));
            }
            // A later file replaces it.
            found.handlers.retain(|h: &Handler| h.name != name);
            found.handlers.push(Handler {
                name: name.to_owned(),
                program: program.map(str::to_owned),
                file: file.path.clone(),
            });
        }
        for wrong in [
            &["runtimes"][..],
            &["crio", "runtimes"],
            &["runtime", "runtimes"],
        ] {
            for (name, item) in tables::entries(&document, wrong) {
                if item
                    .get("runtime_path")
                    .and_then(Item::as_str)
                    .is_some_and(ours)
                {
                    found.problems.push(Problem::failure(
                        format!(
                            "{path} has the runtime {} in the section {}, which CRI-O ignores",
                            quoted(name),
                            wrong.join(".")
                        ),
                        "move it to crio.runtime.runtimes",
                    ));
                }
            }
        }
    }
    Ok(found)
}

//! CRI-O: a drop-in with a runtime. Pure.
//!
//! CRI-O reads `crio.conf` and then each file of `crio.conf.d` in the order of their names; a
//! runtime is taken whole from the last file that has it. It copies all annotations of a pod to
//! its containers, so there is nothing to say about those.

use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item};

use crate::engine::seen::{Handler, Mistake, Seen};
use crate::engine::{Change, HEAD, HOOKS, Text, Wish, free, low_level, tables};
use oci_apparmor::error::{Error, Kind, Result, quoted};

const RUNTIMES: [&str; 3] = ["crio", "runtime", "runtimes"];
const DEFAULT: [&str; 3] = ["crio", "runtime", "default_runtime"];
const HOOKS_DIR: [&str; 3] = ["crio", "runtime", "hooks_dir"];

/// What a runtime of ours says itself, and what belongs to runtimes of another type.
const OWN: [&str; 3] = ["runtime_path", "runtime_type", "runtime_config_path"];

/// What has to change. `files` are all others, in the order in which they are read.
pub(super) fn configure(dropin: &Path, files: &[Text], wish: &Wish) -> Result<Change> {
    let all = read(files)?;
    let named = all.iter().rev().find_map(|d| tables::text(d, &DEFAULT));
    let wrapped = named.unwrap_or(wish.usual.name());
    let find = |name: &str| {
        let path = [RUNTIMES[0], RUNTIMES[1], RUNTIMES[2], name];
        all.iter().rev().find_map(|d| tables::at(d, &path))
    };
    if let Some(item) = find(&wish.name) {
        let program = item.get("runtime_path").and_then(Item::as_str);
        free(wish, Some(program.unwrap_or(&wish.name)), dropin)?;
    }
    let found = find(wrapped);
    let kind = found.and_then(|item| item.get("runtime_type")?.as_str());
    let other_kind = kind.filter(|kind| !["", "oci"].contains(kind));
    if let (Some(kind), true) = (other_kind, wish.default) {
        return Err(Error::new(
            Kind::Policy,
            format!(
                "the default runtime {} is of the type {}, not oci",
                quoted(wrapped),
                quoted(kind)
            ),
        )
        .with_remedy("leave out --set-default; pods then name ours by a RuntimeClass"));
    }
    let program = found.and_then(|item| item.get("runtime_path")?.as_str());
    // Without a path, CRI-O looks for a program of the runtime's name.
    let program = program.filter(|p| !p.is_empty()).or(named);
    let low_level = low_level(wish, wrapped, program.filter(|_| other_kind.is_none()))?;
    let ours = wish.programs.join(low_level.name());

    let mut document = DocumentMut::new();
    let runtime = tables::table(dropin, &mut document, &RUNTIMES[..2])?;
    if wish.default {
        runtime.set_implicit(false);
        tables::set(runtime, DEFAULT[2], wish.name.as_str());
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
    tables::table(dropin, &mut document, &RUNTIMES)?.insert(&wish.name, Item::Table(section));
    Ok(Change {
        file: Text {
            path: dropin.to_owned(),
            text: format!("{HEAD}{}", document.to_string().trim_start()),
        },
        program: ours,
        replaces: program.filter(|_| other_kind.is_none()).map(str::to_owned),
        former_default: None,
        notes: Vec::new(),
    })
}

fn read(files: &[Text]) -> Result<Vec<DocumentMut>> {
    files
        .iter()
        .map(|f| tables::parse(&f.path, &f.text))
        .collect()
}

/// The text without a runtime of ours.
pub(super) fn without(file: &Text, name: &str) -> Result<String> {
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

/// What the files say.
pub(super) fn seen(files: &[Text], ours: &dyn Fn(&str) -> bool) -> Result<Seen> {
    let mut seen = Seen {
        hooks: vec![PathBuf::from(HOOKS)],
        ..Seen::default()
    };
    for (file, document) in files.iter().zip(read(files)?) {
        let path = file.path.display();
        if let Some(directories) = tables::at(&document, &HOOKS_DIR) {
            let directories = tables::texts(Some(directories));
            seen.hooks = directories.into_iter().map(PathBuf::from).collect();
        }
        if let Some(default) = tables::text(&document, &DEFAULT) {
            seen.default = Some(default.to_owned());
        }
        for (name, item) in tables::entries(&document, &RUNTIMES) {
            let program = item.get("runtime_path").and_then(Item::as_str);
            let kind = item
                .get("runtime_type")
                .and_then(Item::as_str)
                .unwrap_or("oci");
            if program.is_some_and(ours) && !["", "oci"].contains(&kind) {
                seen.mistakes.push(Mistake::failure(
                    format!(
                        "{path}: the runtime {} is of the type {}, not oci",
                        quoted(name),
                        quoted(kind)
                    ),
                    "set runtime_type = \"oci\"",
                ));
            }
            // A later file has the last word.
            seen.handlers.retain(|h: &Handler| h.name != name);
            seen.handlers.push(Handler {
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
                    seen.mistakes.push(Mistake::failure(
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
    Ok(seen)
}

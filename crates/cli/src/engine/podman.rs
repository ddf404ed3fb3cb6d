//! podman: a drop-in with a runtime. Pure.
//!
//! podman reads `containers.conf` of the distribution, that of the node, and the drop-ins in the
//! order of their names. Sections are merged; a list replaces the list before it (which is why
//! ours carry what holds without us), unless it says `{append=true}`, which podman knows since 4.8.

use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item};

use crate::engine::seen::{Handler, Mistake, Seen};
use crate::engine::{Change, HEAD, HOOKS, Text, Wish, free, low_level, tables};
use oci_apparmor::error::{Result, quoted};
use oci_apparmor::settings::RuntimeKind;

const RUNTIMES: [&str; 2] = ["engine", "runtimes"];
const DEFAULT: [&str; 2] = ["engine", "runtime"];
const JSON: &str = "runtime_supports_json";
const NO_CGROUPS: &str = "runtime_supports_nocgroups";

/// What podman has without a configuration: all versions of it together (`default.go` in
/// containers/common). Runtimes that are not there do not matter.
const JSON_DEFAULT: [&str; 7] = ["crun", "runc", "kata", "runsc", "youki", "krun", "ocijail"];
const NO_CGROUPS_DEFAULT: [&str; 2] = ["crun", "krun"];

/// What has to change. `files` are all others, in the order in which they are read.
pub(super) fn configure(dropin: &Path, files: &[Text], wish: &Wish) -> Result<Change> {
    let all = read(files)?;
    let find = |name: &str| {
        let path = [RUNTIMES[0], RUNTIMES[1], name];
        let list = |d| tables::texts(tables::at(d, &path)).into_iter().next();
        all.iter().rev().find_map(list)
    };
    free(wish, find(&wish.name).as_deref(), dropin)?;
    let named = all.iter().rev().find_map(|d| tables::text(d, &DEFAULT));
    let named = named.filter(|name| !name.is_empty());
    let program = named.map(|name| find(name).unwrap_or_else(|| name.to_owned()));
    let low_level = low_level(wish, named.unwrap_or_default(), program.as_deref())?;
    let ours = wish.programs.join(low_level.name());

    let mut document = DocumentMut::new();
    let engine = tables::table(dropin, &mut document, &["engine"])?;
    engine.set_implicit(false);
    if wish.default {
        tables::set(engine, DEFAULT[1], wish.name.as_str());
    }
    let mut lists = vec![(JSON, JSON_DEFAULT.as_slice())];
    if low_level == RuntimeKind::Crun {
        lists.push((NO_CGROUPS, &NO_CGROUPS_DEFAULT));
    }
    for (key, without) in lists {
        let mut names = list(&all, key, without);
        names.push(wish.name.clone());
        tables::set(engine, key, tables::list(names));
    }
    let mut section = tables::section("", "", []);
    tables::set(
        &mut section,
        &wish.name,
        tables::list([ours.to_string_lossy()]),
    );
    engine.insert(RUNTIMES[1], Item::Table(section));
    Ok(Change {
        file: Text {
            path: dropin.to_owned(),
            text: format!("{HEAD}{}", document.to_string().trim_start()),
        },
        program: ours,
        replaces: program,
        former_default: None,
        notes: vec![format!(
            "podman remembers the runtime of each container by its name: containers that were made as {} need it until they are removed",
            quoted(&wish.name)
        )],
    })
}

fn read(files: &[Text]) -> Result<Vec<DocumentMut>> {
    files
        .iter()
        .map(|f| tables::parse(&f.path, &f.text))
        .collect()
}

/// A list of `engine` that is in force after these files.
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

/// The text without a runtime of ours.
pub(super) fn without(file: &Text, name: &str) -> Result<String> {
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

/// Whether nothing is said in a file but what lists would be without it.
pub(super) fn is_empty(file: &Text) -> Result<bool> {
    let mut document = tables::parse(&file.path, &file.text)?;
    for key in [JSON, NO_CGROUPS] {
        tables::take(&mut document, &["engine", key]);
    }
    Ok(tables::says_nothing(document.as_table()))
}

/// What the files say. `strays` lie where drop-ins do, and are not named as podman wants it.
pub(super) fn seen(files: &[Text], strays: &[Text], ours: &dyn Fn(&str) -> bool) -> Result<Seen> {
    let all = read(files)?;
    let mut seen = Seen {
        hooks: list(&all, "hooks_dir", &[HOOKS])
            .into_iter()
            .map(PathBuf::from)
            .collect(),
        ..Seen::default()
    };
    for (file, document) in files.iter().zip(&all) {
        if let Some(default) = tables::text(document, &DEFAULT).filter(|d| !d.is_empty()) {
            // A path is taken for a runtime of its last part's name.
            let name = default.rsplit('/').next().unwrap_or(default);
            if default != name {
                seen.handlers.push(handler(name, Some(default), file));
            }
            seen.default = Some(name.to_owned());
        }
        for (name, item) in tables::entries(document, &RUNTIMES) {
            let program = tables::texts(Some(item)).into_iter().next();
            seen.handlers.retain(|h| h.name != name);
            seen.handlers.push(handler(name, program.as_deref(), file));
        }
        for path in [&["runtimes"][..], &["containers", "runtimes"]] {
            for (name, item) in tables::entries(document, path) {
                if tables::texts(Some(item)).iter().any(|p| ours(p)) {
                    seen.mistakes.push(Mistake::failure(
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
    for handler in seen
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
                "podman then gives it no log for the reason of a refusal",
            ),
            (
                NO_CGROUPS,
                &no_cgroups,
                crun,
                "podman then refuses --cgroups=disabled",
            ),
        ] {
            if needed && !list.contains(&handler.name) {
                seen.mistakes.push(Mistake::warning(
                    format!(
                        "the runtime {} of {} is not in {key}: {why}",
                        quoted(&handler.name),
                        handler.file.display()
                    ),
                    format!("add it to {key} in [engine], with those that are there"),
                ));
            }
        }
    }
    for stray in strays.iter().filter(|stray| super::is_ours(&stray.text)) {
        seen.mistakes.push(Mistake::failure(
            format!(
                "{} does not end in .conf, so podman does not read it",
                stray.path.display()
            ),
            "rename it",
        ));
    }
    Ok(seen)
}

fn handler(name: &str, program: Option<&str>, file: &Text) -> Handler {
    Handler {
        name: name.to_owned(),
        program: program.map(str::to_owned),
        file: file.path.clone(),
    }
}

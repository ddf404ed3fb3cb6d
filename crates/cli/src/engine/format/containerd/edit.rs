//! A runtime in a file that exists, between what others wrote there.

use std::path::Path;

use toml_edit::{DocumentMut, Item, Table};

use super::new_runtime::{NewRuntime, check_unused};
use super::parsed::{
    ENABLE, EXISTING_PODS, MIGRATE, Parsed, TYPES, VERSION_1, disabled, parse, section, version,
};
use crate::engine::edit::{Edit, TextFile};
use crate::engine::format::tables;
use crate::engine::requested::Requested;
use oci_apparmor::error::{Error, Kind, Result};

/// Adds the runtime to the file in which it is in force. `files` are the main file, if it exists,
/// and then its imports, in the order in which they are read.
pub(crate) fn configure(main: &Path, files: &[TextFile], requested: &Requested) -> Result<Edit> {
    // Without a file containerd has built-in defaults. Every release since 1.3 reads version 2.
    let fresh = [TextFile {
        path: main.to_owned(),
        text: "version = 2\n".to_owned(),
    }];
    let blank = files.iter().all(|file| file.text.trim().is_empty());
    let (version, mut all) = parse(if blank { &fresh } else { files })?;
    let in_force = all.iter().rposition(Parsed::has_section).unwrap_or(0);
    let mut notes = Vec::new();
    if let Some(disabled) = disabled(&all) {
        notes.push(format!("{disabled}; {ENABLE}"));
    }
    if version == 1 {
        notes.push(format!("{VERSION_1}; {MIGRATE}"));
    }
    notes.push(EXISTING_PODS.to_owned());
    let new = NewRuntime::of(&all, requested)?;

    let Some(target) = all.get_mut(in_force) else {
        return Err(Error::new(Kind::Internal, "there is no file to change"));
    };
    let former_default = target.default_as_written().map(str::to_owned);
    let path = target.path;
    if let Some(file) = files.iter().find(|file| file.path == path) {
        // Refuses a text of which other lines would change as well.
        tables::parse(path, &file.text)?;
    }
    check_unused(requested, target.runtime(&requested.name), path)?;
    if requested.default && has_old_default(&target.document, target.section) {
        return Err(Error::new(
            Kind::Configuration,
            format!(
                "{} has the deprecated section default_runtime, which overrides \
                 default_runtime_name",
                path.display()
            ),
        )
        .with_remedy("give that runtime a name in the section runtimes; nothing was changed"));
    }
    let (program, replaces) = (new.program.clone(), new.replaces.clone());
    insert(target, version, new, requested)?;

    let text = target.document.to_string();
    // What is written must be readable.
    tables::parse(path, &text).map_err(|e| e.of(Kind::Internal))?;
    Ok(Edit {
        file: TextFile {
            path: path.to_owned(),
            text,
        },
        program,
        replaces,
        former_default: former_default.filter(|_| requested.default),
        notes,
    })
}

/// Inserts the runtime, indented as the sections beside it.
fn insert(
    target: &mut Parsed<'_>,
    version: i64,
    new: NewRuntime,
    requested: &Requested,
) -> Result<()> {
    // If a file defines any runtime, containerd 1.x drops its built-in one (go-toml decodes into a
    // new map).
    let none = target.runtimes().next().is_none();
    let (path, section, document) = (target.path, target.section, &mut target.document);
    let plugin = tables::table(path, document, &["plugins", section])?;
    let beside = plugin.iter().find_map(|(_, item)| item.as_table());
    let beside = beside.map(tables::indent).unwrap_or_default();
    let containerd = tables::table(path, document, &["plugins", section, "containerd"])?;
    if requested.default {
        if containerd.is_implicit() {
            let below = containerd.iter().find_map(|(_, item)| item.as_table());
            let indent = below.map_or_else(|| beside.clone(), tables::indent);
            containerd.decor_mut().set_prefix(format!("\n{indent}"));
        }
        tables::set(containerd, "default_runtime_name", requested.name.as_str());
    }
    let keys = ["plugins", section, "containerd", "runtimes"];
    let runtimes = tables::table(path, document, &keys)?;
    let sibling = runtimes.iter().find_map(|(_, item)| item.as_table());
    let indent = match (sibling, runtimes.is_implicit()) {
        (Some(sibling), _) => tables::indent(sibling),
        (None, true) => beside,
        (None, false) => tables::indent(runtimes),
    };
    if none && version < 3 {
        let runc = ("runtime_type".to_owned(), TYPES[0].into());
        let runc = tables::section(&indent, "  ", [runc]);
        runtimes.insert("runc", Item::Table(runc));
    }
    let runtime = new.inherited.with(&indent, &new.program.to_string_lossy());
    runtimes.insert(&requested.name, Item::Table(runtime));
    Ok(())
}

fn has_old_default(document: &DocumentMut, section: &str) -> bool {
    let path = [
        "plugins",
        section,
        "containerd",
        "default_runtime",
        "runtime_type",
    ];
    tables::text(document, &path).is_some_and(|kind| !kind.is_empty())
}

/// The text without the runtime `name`. If that is the default runtime, `former` becomes the
/// default again. `main` is the version of the main file.
pub(crate) fn without(
    file: &TextFile,
    main: i64,
    name: &str,
    former: Option<&str>,
) -> Result<String> {
    let mut document = tables::parse(&file.path, &file.text)?;
    let section = section(version(&file.path, &document)?.unwrap_or(main));
    let path = ["plugins", section, "containerd", "runtimes", name];
    tables::take(&mut document, &path);
    let path = ["plugins", section, "containerd", "default_runtime_name"];
    if tables::text(&document, &path) == Some(name) {
        match former {
            Some(former) => {
                let table = tables::table(&file.path, &mut document, &path[..3])?;
                tables::set(table, path[3], former);
            }
            None => {
                tables::take(&mut document, &path);
            }
        }
    }
    Ok(document.to_string())
}

/// Whether a file configures nothing: it has a version and empty sections at most.
pub(crate) fn is_empty(file: &TextFile) -> Result<bool> {
    let document = tables::parse(&file.path, &file.text)?;
    let table: &Table = document.as_table();
    let mut entries = table.iter().filter(|(key, _)| *key != "version");
    Ok(entries.all(|(_, item)| item.as_table_like().is_some_and(tables::is_empty)))
}

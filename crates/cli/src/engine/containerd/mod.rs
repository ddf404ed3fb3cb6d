//! containerd: a runtime of its CRI plugin. Pure.
//!
//! containerd before 2.1 takes a plugin's section from the last file that has it, and nothing of
//! it from the others (containerd#5837); later ones merge. So the file that is changed is always
//! the last one that has anything of the plugin: there it is in force under both rules.

pub(super) mod added;
mod inherit;
mod seen;
#[cfg(test)]
mod tests;

use std::path::Path;

use toml_edit::{DocumentMut, Item, Table};

use crate::engine::{Change, Text, Wish, free, is_ours, low_level, tables};
use oci_apparmor::error::{Error, Kind, Result};

use inherit::Inherited;
pub(super) use seen::seen;

/// The shims that take a `BinaryName`; the last is one of them in MicroK8s' template.
const TYPES: [&str; 3] = [
    "io.containerd.runc.v2",
    "io.containerd.runc.v1",
    "${RUNTIME_TYPE}",
];

/// What MicroK8s' template has in the place of `runc` (`run-containerd-with-args`).
const MICROK8S_RUNTIME: &str = "${RUNTIME}";

/// What the CRI plugin's section is called in each version of the configuration.
const SECTIONS: [&str; 3] = [
    "cri",
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.runtime",
];

/// As seen with containerd 2.1: it migrates the file, and drops what it says of runtimes.
const OLD: &str = "this configuration is of version 1, in which containerd 2 ignores runtimes: run `containerd config migrate` before you upgrade";

/// What a new runtime does not change.
const PODS: &str = "pods that exist already have to be made anew: containerd keeps the runtime that a pod was made with, so their containers do not come to the wrapper";

/// A file, read.
struct Read<'t> {
    path: &'t Path,
    document: DocumentMut,
    /// The plugin's name in this file.
    section: &'static str,
}

impl Read<'_> {
    /// Whether it has anything of the plugin, be it a registry alone.
    fn has_section(&self) -> bool {
        tables::at(&self.document, &["plugins", self.section]).is_some_and(Item::is_table_like)
    }

    fn default(&self) -> Option<&str> {
        match self.default_as_written()? {
            MICROK8S_RUNTIME => Some("runc"),
            name => Some(name),
        }
    }

    fn default_as_written(&self) -> Option<&str> {
        let path = [
            "plugins",
            self.section,
            "containerd",
            "default_runtime_name",
        ];
        tables::text(&self.document, &path)
    }

    fn runtimes(&self) -> impl Iterator<Item = (&str, &Item)> {
        let path = ["plugins", self.section, "containerd", "runtimes"];
        tables::entries(&self.document, &path)
    }

    fn runtime(&self, name: &str) -> Option<&Item> {
        self.runtimes()
            .find(|(n, _)| *n == name)
            .map(|(_, item)| item)
    }
}

/// A file without a version is of version 1, and an imported one is read as the main one is.
fn version(path: &Path, document: &DocumentMut) -> Result<Option<i64>> {
    match document.get("version") {
        None => Ok(None),
        Some(item) => match item.as_integer() {
            Some(version) if version >= 1 => Ok(Some(version)),
            _ => Err(Error::new(
                Kind::Configuration,
                format!("{}: version is no number that is known", path.display()),
            )
            .with_remedy("containerd knows 1, 2 and 3; nothing was changed")),
        },
    }
}

fn section(version: i64) -> &'static str {
    match version {
        1 => "cri",
        2 => "io.containerd.grpc.v1.cri",
        _ => "io.containerd.cri.v1.runtime",
    }
}

/// Reads the main file, which comes first, and those that it imports.
fn read(files: &[Text]) -> Result<(i64, Vec<Read<'_>>)> {
    let mut main = None;
    let mut all = Vec::new();
    for Text { path, text } in files {
        let document = tables::read(path, text)?;
        let own = version(path, &document)?;
        let main = *main.get_or_insert(own.unwrap_or(1));
        let section = section(own.unwrap_or(main));
        all.push(Read {
            path,
            document,
            section,
        });
    }
    Ok((main.unwrap_or(2), all))
}

/// What the main file imports, as it is written there.
pub(super) fn imports(main: &Text) -> Result<Vec<String>> {
    let document = tables::read(&main.path, &main.text)?;
    Ok(tables::texts(document.get("imports")))
}

/// The text with other imports.
pub(super) fn importing(file: &Text, imports: &[std::path::PathBuf]) -> Result<String> {
    let mut document = tables::read(&file.path, &file.text)?;
    let paths = imports.iter().map(|path| path.to_string_lossy());
    document.insert("imports", Item::Value(tables::list(paths)));
    Ok(document.to_string())
}

/// What has to change. `files` are the main file, if it is there, and then those that it imports,
/// in the order in which they are read.
pub(super) fn configure(main: &Path, files: &[Text], wish: &Wish) -> Result<Change> {
    // Without a file containerd has defaults of its own; version 2 is read by all since 1.3.
    let fresh = [Text {
        path: main.to_owned(),
        text: "version = 2\n".to_owned(),
    }];
    let blank = files.iter().all(|file| file.text.trim().is_empty());
    let (version, mut all) = read(if blank { &fresh } else { files })?;
    let in_force = all.iter().rposition(Read::has_section).unwrap_or(0);
    let mut notes = disabled(&all);
    if version == 1 {
        notes.push(OLD.to_owned());
    }
    let default = all.iter().rev().find_map(Read::default).unwrap_or("runc");
    let default = default.to_owned();
    // The runtime whose place ours takes, wherever it is defined.
    let wrapped = match is_name_of_ours(&all, &default) {
        true => "runc",
        false => &default,
    };
    let inherited = Inherited::of(&all, wrapped, wish)?;
    let low_level = low_level(wish, wrapped, inherited.program.as_deref())?;
    let ours = wish.programs.join(low_level.name());
    let replaces = inherited.program.clone().filter(|p| !p.is_empty());

    let Some(target) = all.get_mut(in_force) else {
        return Err(Error::new(Kind::Internal, "there is no file to change"));
    };
    // containerd 1.x forgets its own runtimes where a file has any (go-toml decodes a map anew).
    let none = target.runtimes().next().is_none();
    let former_default = target.default_as_written().map(str::to_owned);
    let (path, section) = (target.path, target.section);
    if let Some(file) = files.iter().find(|file| file.path == path) {
        // Whether it comes out as it was, but for our own lines.
        tables::parse(path, &file.text)?;
    }
    let document = &mut target.document;
    let existing = tables::at(
        document,
        &["plugins", section, "containerd", "runtimes", &wish.name],
    );
    let existing = existing.map(|item| item.get("options").and_then(|o| o.get("BinaryName")));
    free(
        wish,
        existing.map(|name| name.and_then(Item::as_str).unwrap_or("a shim of its own")),
        path,
    )?;
    if wish.default && has_old_default(document, section) {
        return Err(Error::new(
            Kind::Configuration,
            format!("{} has the deprecated section default_runtime, which overrides default_runtime_name", path.display()),
        )
        .with_remedy("make it a runtime with a name; nothing was changed"));
    }

    let plugin = tables::table(path, document, &["plugins", section])?;
    let beside = plugin.iter().find_map(|(_, item)| item.as_table());
    let beside = beside.map(tables::indent).unwrap_or_default();
    let containerd = tables::table(path, document, &["plugins", section, "containerd"])?;
    if wish.default {
        if containerd.is_implicit() {
            let below = containerd.iter().find_map(|(_, item)| item.as_table());
            let indent = below.map_or_else(|| beside.clone(), tables::indent);
            containerd.decor_mut().set_prefix(format!("\n{indent}"));
        }
        tables::set(containerd, "default_runtime_name", wish.name.as_str());
    }
    let way = ["plugins", section, "containerd", "runtimes"];
    let runtimes = tables::table(path, document, &way)?;
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
    let runtime = inherited.with(&indent, &ours.to_string_lossy());
    runtimes.insert(&wish.name, Item::Table(runtime));

    let text = document.to_string();
    // What was put together must be read as such.
    tables::parse(path, &text).map_err(|e| e.of(Kind::Internal))?;
    notes.push(PODS.to_owned());
    Ok(Change {
        file: Text {
            path: path.to_owned(),
            text,
        },
        program: ours,
        replaces,
        former_default: former_default.filter(|_| wish.default),
        notes,
    })
}

fn is_name_of_ours(all: &[Read<'_>], name: &str) -> bool {
    let runtime = all.iter().rev().find_map(|read| read.runtime(name));
    let program = runtime.and_then(|item| item.get("options")?.get("BinaryName")?.as_str());
    program.is_some_and(is_ours)
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

/// A note where the plugin that Kubernetes needs is off; whether it is wanted is not ours to say.
fn disabled(all: &[Read<'_>]) -> Vec<String> {
    let off = |read: &&Read<'_>| {
        let names = tables::texts(read.document.get("disabled_plugins"));
        names.iter().any(|name| SECTIONS.contains(&name.as_str()))
    };
    let note = |read: &Read<'_>| {
        format!(
            "{} disables containerd's CRI plugin (disabled_plugins): Kubernetes cannot use this containerd, and nothing calls our runtime, until that is taken out",
            read.path.display()
        )
    };
    all.iter().find(off).map(note).into_iter().collect()
}

/// The text without a runtime of ours; the default is what it was.
pub(super) fn without(file: &Text, main: i64, name: &str, former: Option<&str>) -> Result<String> {
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

/// The version by which imported files are read.
pub(super) fn main_version(files: &[Text]) -> Result<i64> {
    Ok(read(files)?.0)
}

/// Whether anything is said in a file.
pub(super) fn is_empty(file: &Text) -> Result<bool> {
    let document = tables::parse(&file.path, &file.text)?;
    let table: &Table = document.as_table();
    let mut said = table.iter().filter(|(key, _)| *key != "version");
    Ok(said.all(|(_, item)| item.as_table_like().is_some_and(tables::says_nothing)))
}

//! What the wrapper's runtime inherits from the runtime that it replaces.

use toml_edit::{Item, Table, Value};

use super::parsed::{Parsed, TYPES};
use crate::engine::format::{pod_annotations, tables};
use crate::engine::requested::Requested;
use oci_apparmor::error::{Error, Kind, Result, quoted};

/// The inherited settings: the shim's type, the annotations that it passes on, the cgroup driver
/// and all other options.
#[derive(Default)]
pub(super) struct Inherited {
    kind: String,
    patterns: Vec<String>,
    entries: Vec<(String, Value)>,
    options: Vec<(String, Value)>,
    /// The program that the replaced runtime calls.
    pub(super) program: Option<String>,
}

impl Inherited {
    /// The settings of the runtime `replaced`, or of runc if another shim runs `replaced`.
    pub(super) fn of(all: &[Parsed<'_>], replaced: &str, requested: &Requested) -> Result<Self> {
        let find = |name: &str| all.iter().rev().find_map(|file| file.runtime(name));
        let kind = |item: &Item| match item.get("runtime_type").and_then(Item::as_str) {
            None | Some("") => TYPES[0].to_owned(),
            Some(kind) => kind.to_owned(),
        };
        let is_runc = |item: &&Item| TYPES.contains(&kind(item).as_str());
        let item = match find(replaced) {
            Some(item) if !is_runc(&item) && requested.default => {
                return Err(Error::new(
                    Kind::Policy,
                    format!(
                        "the default runtime {} has runtime_type {}, which does not call an OCI \
                         runtime as runc's shim does",
                        quoted(replaced),
                        quoted(&kind(item))
                    ),
                )
                .with_remedy(
                    "leave out --set-default, and name the wrapper's runtime in a RuntimeClass",
                ));
            }
            item => item
                .filter(is_runc)
                .or_else(|| find("runc").filter(is_runc)),
        };
        let Some(item) = item else {
            return Ok(Self {
                kind: TYPES[0].to_owned(),
                ..Self::default()
            });
        };
        let options = item.get("options");
        let program = options.and_then(|options| options.get("BinaryName")?.as_str());
        Ok(Self {
            kind: kind(item),
            patterns: tables::texts(item.get("pod_annotations")),
            entries: values(item, &["pod_annotations", "runtime_type", "options"]),
            options: options.map_or_else(Vec::new, |options| values(options, &["BinaryName"])),
            program: program.map(str::to_owned),
        })
    }

    /// Whether an option is set.
    pub(super) fn has_option(&self, option: &str) -> bool {
        self.options.iter().any(|(name, _)| name == option)
    }

    /// Sets an option.
    pub(super) fn set(&mut self, option: &str, value: impl Into<Value>) {
        self.options.retain(|(name, _)| name != option);
        self.options.push((option.to_owned(), value.into()));
    }

    /// The section of a runtime with these settings that calls `program`.
    pub(super) fn with(self, indent: &str, program: &str) -> Table {
        let mut patterns = self.patterns;
        let missing = pod_annotations::missing(&patterns);
        patterns.extend(missing.into_iter().map(str::to_owned));
        let kind = [("runtime_type".to_owned(), self.kind.into())];
        let patterns = [("pod_annotations".to_owned(), tables::list(patterns))];
        let entries = kind.into_iter().chain(self.entries).chain(patterns);
        let mut runtime = tables::section(indent, "  ", entries);
        let name = [("BinaryName".to_owned(), program.into())];
        let options = self.options.into_iter().chain(name);
        let options = tables::section(&format!("{indent}  "), "  ", options);
        runtime.insert("options", Item::Table(options));
        runtime
    }
}

/// The keys and values of a section, without its subsections and without the keys in `but`.
fn values(item: &Item, but: &[&str]) -> Vec<(String, Value)> {
    let table = item.as_table_like();
    let entries = table.into_iter().flat_map(|table| table.iter());
    entries
        .filter(|(key, _)| !but.contains(key))
        .filter_map(|(key, item)| Some((key.to_owned(), item.as_value()?.clone())))
        .collect()
}

//! The parts of `spec.abstract` that are the same in both versions.

use serde::Deserialize;

use super::ptrace::{Ptrace, PtraceRule};
use super::{Network, Rules};
use crate::capability::Capability;
use crate::error::{Result, quoted};
use crate::path::Path;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Executable {
    allowed_executables: Vec<Item>,
    allowed_libraries: Vec<Item>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Filesystem {
    read_only_paths: Vec<Item>,
    write_only_paths: Vec<Item>,
    read_write_paths: Vec<Item>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Capabilities {
    allowed_capabilities: Vec<Capability>,
}

/// An item of a list of paths.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
enum Item {
    Path(Path),
    Ptrace(PtraceRule),
}

impl TryFrom<String> for Item {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        match PtraceRule::in_path_list(&text) {
            Some(rule) => Ok(Self::Ptrace(rule)),
            None => match Path::parse(&text) {
                Ok(path) => Ok(Self::Path(path)),
                Err(why) => Err(format!("the path {} {why}", quoted(&text))),
            },
        }
    }
}

/// `spec.abstract`; `network` is already in the form that both versions have in common.
#[derive(Debug)]
pub(super) struct Abstract {
    pub(super) executable: Option<Executable>,
    pub(super) filesystem: Option<Filesystem>,
    pub(super) ptrace: Option<Ptrace>,
    pub(super) network: Option<Network>,
    pub(super) capability: Option<Capabilities>,
}

impl Abstract {
    pub(super) fn rules(self) -> Result<Rules> {
        let executable = self.executable.unwrap_or_default();
        let filesystem = self.filesystem.unwrap_or_default();
        let mut in_lists = Vec::new();
        let mut paths = |items: Vec<Item>| {
            let mut paths = Vec::new();
            for item in items {
                match item {
                    Item::Path(path) => paths.push(path),
                    Item::Ptrace(rule) => in_lists.push(rule),
                }
            }
            paths
        };
        let mut rules = Rules {
            executables: paths(executable.allowed_executables),
            libraries: paths(executable.allowed_libraries),
            read_only: paths(filesystem.read_only_paths),
            write_only: paths(filesystem.write_only_paths),
            read_write: paths(filesystem.read_write_paths),
            ptrace: Vec::new(),
            network: self.network,
            capabilities: self.capability.unwrap_or_default().allowed_capabilities,
        };
        if let Some(ptrace) = self.ptrace {
            rules.ptrace.push(ptrace.rule()?);
        }
        in_lists.sort_unstable();
        in_lists.dedup();
        rules.ptrace.append(&mut in_lists);
        Ok(rules)
    }
}

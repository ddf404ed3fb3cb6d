//! The runtime to add: which program it calls, and what it inherits.

use std::path::{Path, PathBuf};

use toml_edit::Item;

use super::inherit::Inherited;
use super::parsed::{Parsed, calls_wrapper};
use crate::engine::requested::Requested;
use oci_apparmor::error::Result;

/// The runtime to add.
pub(super) struct NewRuntime {
    pub(super) inherited: Inherited,
    /// The default runtime now.
    pub(super) default: String,
    /// The wrapper's link that it will call.
    pub(super) program: PathBuf,
    /// The program that the replaced runtime calls, if the files name one.
    pub(super) replaces: Option<String>,
}

impl NewRuntime {
    /// The runtime that replaces the default one of these files.
    pub(super) fn of(all: &[Parsed<'_>], requested: &Requested) -> Result<Self> {
        let default = all.iter().rev().find_map(Parsed::default).unwrap_or("runc");
        let replaced = match calls_wrapper(all, default) {
            true => "runc",
            false => default,
        };
        let inherited = Inherited::of(all, replaced, requested)?;
        let kind = requested.runtime_kind(replaced, inherited.program.as_deref())?;
        Ok(Self {
            replaces: inherited.program.clone().filter(|p| !p.is_empty()),
            inherited,
            default: default.to_owned(),
            program: requested.programs.join(kind.name()),
        })
    }
}

/// Refuses the requested name if `existing`, a runtime of that name in the file at `path`, does not
/// call the wrapper.
pub(super) fn check_unused(
    requested: &Requested,
    existing: Option<&Item>,
    path: &Path,
) -> Result<()> {
    let program = existing.map(|runtime| {
        let name = runtime.get("options").and_then(|o| o.get("BinaryName"));
        name.and_then(Item::as_str).unwrap_or("another shim")
    });
    requested.check_unused(program, path)
}

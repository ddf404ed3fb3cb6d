//! What an engine's files say.
//!
//! In each function, `ours` decides whether a program that a file names is the wrapper.

use std::path::Path;

use crate::engine::edit::TextFile;
use crate::engine::files::ConfigFiles;
use crate::engine::inspection::Inspection;
use crate::engine::kind::Engine;
use crate::engine::root::NodeRoot;
use crate::engine::{format, imports};
use oci_apparmor::error::Result;

/// Inspects all files of an engine; `configure` changes or creates the one at `main`.
///
/// # Errors
/// If a file cannot be read or parsed.
pub(crate) fn all(
    engine: Engine,
    root: &NodeRoot,
    main: &Path,
    ours: &dyn Fn(&str) -> bool,
) -> Result<Inspection> {
    let files = ConfigFiles::gather(engine, root, main)?;
    format::inspect(engine, &files.read, &files.ignored, ours)
}

/// Inspects what `configure` wrote: the section that it added to a template, whatever was rendered
/// from it since; otherwise the same as [`all`].
///
/// # Errors
/// As for [`all`].
pub(crate) fn written(
    engine: Engine,
    root: &NodeRoot,
    main: &Path,
    ours: &dyn Fn(&str) -> bool,
) -> Result<Inspection> {
    let files = ConfigFiles::gather(engine, root, main)?;
    match &files.template {
        Some(template) => Ok(format::containerd::inspect_template(template)),
        None => format::inspect(engine, &files.read, &files.ignored, ours),
    }
}

/// Inspects containerd's main file and its imports.
///
/// # Errors
/// As for [`all`].
pub(crate) fn containerd(
    root: &NodeRoot,
    main: &Path,
    ours: &dyn Fn(&str) -> bool,
) -> Result<Inspection> {
    let mut read: Vec<TextFile> = root.read(main)?.into_iter().collect();
    imports::append(root, &mut read)?;
    format::inspect(Engine::Containerd, &read, &[], ours)
}

//! The files of each engine: text in, text out. Nothing here touches the system.
//!
//! This file calls the one that knows the engine. [`tables`] edits TOML and [`json`] edits JSON, and
//! both keep what they do not change: comments, order and white space.

pub(crate) mod containerd;
mod crio;
mod docker;
mod json;
mod pod_annotations;
mod podman;
mod tables;

use std::path::Path;

use crate::engine::config_kind::ConfigKind;
use crate::engine::edit::{Edit, TextFile};
use crate::engine::inspection::Inspection;
use crate::engine::kind::Engine;
use crate::engine::requested::Requested;
use oci_apparmor::error::Result;

/// The change after which an engine calls the wrapper. `main` is the file to change or create,
/// `files` are the engine's files without an earlier change of ours, in the order in which they are
/// read, and `template` is the text of `main` where that is a template.
pub(crate) fn configure(
    engine: Engine,
    main: &Path,
    files: &[TextFile],
    template: Option<&str>,
    requested: &Requested,
) -> Result<Edit> {
    match engine {
        Engine::Containerd => match ConfigKind::of(main) {
            ConfigKind::Template => containerd::template(main, template, files, requested),
            ConfigKind::DropIn => containerd::drop_in(main, files, requested),
            ConfigKind::Main => containerd::configure(main, files, requested),
        },
        Engine::Crio => crio::configure(main, files, requested),
        Engine::Podman => podman::configure(main, files, requested),
        Engine::Docker => docker::configure(main, files.first(), requested),
    }
}

/// What the files of an engine say. The engine does not read the files in `ignored`, which stand
/// beside the others. `ours` decides whether a program is the wrapper.
pub(crate) fn inspect(
    engine: Engine,
    files: &[TextFile],
    ignored: &[TextFile],
    ours: &dyn Fn(&str) -> bool,
) -> Result<Inspection> {
    match engine {
        Engine::Containerd => containerd::inspect(files, ignored, ours),
        Engine::Crio => crio::inspect(files, ours),
        Engine::Podman => podman::inspect(files, ignored, ours),
        Engine::Docker => docker::inspect(files.first(), ours),
    }
}

/// The text of `file` without the runtime `name`. If that is the default runtime, `former` becomes
/// the default again.
pub(crate) fn without(
    engine: Engine,
    files: &[TextFile],
    file: &TextFile,
    name: &str,
    former: Option<&str>,
) -> Result<String> {
    let left = match engine {
        Engine::Containerd if ConfigKind::of(&file.path) == ConfigKind::Template => {
            Ok(containerd::template_without(&file.text))
        }
        Engine::Containerd => {
            containerd::without(file, containerd::main_version(files)?, name, former)
        }
        Engine::Crio => crio::without(file, name),
        Engine::Podman => podman::without(file, name),
        Engine::Docker => docker::without(file, name, former),
    }?;
    // A new line end of the last line is no change.
    Ok(match left.strip_suffix('\n') == Some(&file.text) {
        true => file.text.clone(),
        false => left,
    })
}

/// Whether a file configures nothing, so that one that `configure` created can be removed.
pub(crate) fn is_empty(engine: Engine, file: &TextFile) -> Result<bool> {
    match engine {
        Engine::Docker => Ok(docker::is_empty(file)),
        Engine::Containerd if ConfigKind::of(&file.path) == ConfigKind::Template => {
            Ok(containerd::template_is_empty(&file.text))
        }
        Engine::Containerd => containerd::is_empty(file),
        Engine::Crio => crio::is_empty(file),
        Engine::Podman => podman::is_empty(file),
    }
}

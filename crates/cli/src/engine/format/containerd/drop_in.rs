//! A runtime in a drop-in, for a containerd whose main file a Kubernetes distribution writes again
//! at each start.

use std::path::Path;

use toml_edit::{DocumentMut, Item};

use super::inherit::Inherited;
use super::new_runtime::{NewRuntime, check_unused};
use super::parsed::{EXISTING_PODS, parse, section};
use crate::engine::config_kind::main_file;
use crate::engine::edit::{Edit, HEADER, TextFile};
use crate::engine::format::tables;
use crate::engine::requested::Requested;
use oci_apparmor::error::{Error, Kind, Result};

/// The drop-in at `path`. `files` are all other files, in the order in which they are read.
pub(crate) fn drop_in(path: &Path, files: &[TextFile], requested: &Requested) -> Result<Edit> {
    if files.is_empty() {
        return Err(Error::new(
            Kind::NotFound,
            format!(
                "{} does not exist, so the version of this containerd's configuration is unknown",
                main_file(path).display()
            ),
        )
        .with_remedy(
            "start the distribution once, or create that file with its first lines: \
             `# k0s_managed=true` and `version = 3` for k0s 1.36 and later, `version = 2` for \
             older releases",
        ));
    }
    let (version, all) = parse(files)?;
    let new = NewRuntime::of(&all, requested)?;
    let existing = all
        .iter()
        .rev()
        .find_map(|file| file.runtime(&requested.name));
    check_unused(requested, existing, path)?;
    let mut document = runtime_alone(path, version, new.inherited, &new.program, &requested.name)?;
    if requested.default {
        let keys = ["plugins", section(version), "containerd"];
        let containerd = tables::table(path, &mut document, &keys)?;
        containerd.set_implicit(false);
        containerd.decor_mut().set_prefix("\n");
        tables::set(containerd, "default_runtime_name", requested.name.as_str());
    }
    Ok(Edit {
        file: TextFile {
            path: path.to_owned(),
            text: format!(
                "{HEADER}version = {version}\n\n{}",
                document.to_string().trim_start()
            ),
        },
        program: new.program,
        replaces: new.replaces,
        former_default: None,
        notes: vec![EXISTING_PODS.to_owned()],
    })
}

/// A document with the section of the runtime `name`, and nothing else.
pub(super) fn runtime_alone(
    path: &Path,
    version: i64,
    inherited: Inherited,
    program: &Path,
    name: &str,
) -> Result<DocumentMut> {
    let mut document = DocumentMut::new();
    let keys = ["plugins", section(version), "containerd", "runtimes"];
    let table = inherited.with("", &program.to_string_lossy());
    tables::table(path, &mut document, &keys)?.insert(name, Item::Table(table));
    Ok(document)
}

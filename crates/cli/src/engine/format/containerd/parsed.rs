//! containerd's files as TOML: their version, and the section of the CRI plugin.

use std::path::Path;

use toml_edit::{DocumentMut, Item};

use crate::engine::edit::TextFile;
use crate::engine::format::tables;
use crate::engine::wrapper;
use oci_apparmor::error::{Error, Kind, Result};

/// The values of `runtime_type` whose shim calls the program in `BinaryName`. The last one is
/// replaced by one of the others in MicroK8s' template.
pub(super) const TYPES: [&str; 3] = [
    "io.containerd.runc.v2",
    "io.containerd.runc.v1",
    "${RUNTIME_TYPE}",
];

/// What MicroK8s' template has instead of `runc` (`run-containerd-with-args`).
const MICROK8S_RUNTIME: &str = "${RUNTIME}";

/// The name of the CRI plugin's section in the versions 1, 2 and 3 of the configuration.
pub(super) const SECTIONS: [&str; 3] = [
    "cri",
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.runtime",
];

/// A problem of version 1: containerd 2.1 migrates the file, but drops its runtimes.
pub(super) const VERSION_1: &str =
    "the configuration has version 1, and containerd 2 ignores the runtimes in it";

/// The remedy for [`VERSION_1`].
pub(super) const MIGRATE: &str =
    "before you upgrade to containerd 2, run: containerd config migrate";

/// The remedy for a disabled CRI plugin.
pub(super) const ENABLE: &str =
    "if this node is for Kubernetes, remove the CRI plugin from disabled_plugins";

/// What a new runtime does not change.
pub(super) const EXISTING_PODS: &str = "existing pods keep the runtime that they were created with; \
     create them again, so that containerd calls the wrapper for their containers";

/// One file.
pub(super) struct Parsed<'t> {
    pub(super) path: &'t Path,
    pub(super) document: DocumentMut,
    /// The name of the plugin's section in this file.
    pub(super) section: &'static str,
}

impl Parsed<'_> {
    /// Whether it has the plugin's section, even if that defines no runtime.
    pub(super) fn has_section(&self) -> bool {
        tables::at(&self.document, &["plugins", self.section]).is_some_and(Item::is_table_like)
    }

    pub(super) fn default(&self) -> Option<&str> {
        match self.default_as_written()? {
            MICROK8S_RUNTIME => Some("runc"),
            name => Some(name),
        }
    }

    pub(super) fn default_as_written(&self) -> Option<&str> {
        let path = [
            "plugins",
            self.section,
            "containerd",
            "default_runtime_name",
        ];
        tables::text(&self.document, &path)
    }

    pub(super) fn runtimes(&self) -> impl Iterator<Item = (&str, &Item)> {
        let path = ["plugins", self.section, "containerd", "runtimes"];
        tables::entries(&self.document, &path)
    }

    pub(super) fn runtime(&self, name: &str) -> Option<&Item> {
        self.runtimes()
            .find(|(n, _)| *n == name)
            .map(|(_, item)| item)
    }
}

/// The version that a file declares. A main file without a version has version 1; an imported one
/// has the version of the main file.
pub(super) fn version(path: &Path, document: &DocumentMut) -> Result<Option<i64>> {
    match document.get("version") {
        None => Ok(None),
        Some(item) => match item.as_integer() {
            Some(version) if version >= 1 => Ok(Some(version)),
            _ => Err(Error::new(
                Kind::Configuration,
                format!("{}: the version is not a positive number", path.display()),
            )
            .with_remedy("set it to 1, 2 or 3, which containerd knows; nothing was changed")),
        },
    }
}

/// The name of the CRI plugin's section in this version of the configuration.
pub(super) fn section(version: i64) -> &'static str {
    let [first, second, third] = SECTIONS;
    match version {
        1 => first,
        2 => second,
        _ => third,
    }
}

/// Parses the main file, which comes first, and the files that it imports. Returns the version of
/// the main file as well.
pub(super) fn parse(files: &[TextFile]) -> Result<(i64, Vec<Parsed<'_>>)> {
    let mut main = None;
    let mut all = Vec::new();
    for TextFile { path, text } in files {
        let document = tables::read(path, text)?;
        let own = version(path, &document)?;
        let main = *main.get_or_insert(own.unwrap_or(1));
        let section = section(own.unwrap_or(main));
        all.push(Parsed {
            path,
            document,
            section,
        });
    }
    Ok((main.unwrap_or(2), all))
}

/// The version of the main file.
pub(crate) fn main_version(files: &[TextFile]) -> Result<i64> {
    Ok(parse(files)?.0)
}

/// Whether the runtime of this name calls the wrapper.
pub(super) fn calls_wrapper(all: &[Parsed<'_>], name: &str) -> bool {
    let runtime = all.iter().rev().find_map(|file| file.runtime(name));
    let program = runtime.and_then(|item| item.get("options")?.get("BinaryName")?.as_str());
    program.is_some_and(wrapper::is_named)
}

/// That a file disables the CRI plugin, if one does. An administrator may want that.
pub(super) fn disabled(all: &[Parsed<'_>]) -> Option<String> {
    let off = |file: &&Parsed<'_>| {
        let names = tables::texts(file.document.get("disabled_plugins"));
        names.iter().any(|name| SECTIONS.contains(&name.as_str()))
    };
    all.iter().find(off).map(|file| {
        format!(
            "{} disables containerd's CRI plugin (disabled_plugins), so no pod comes to the \
             wrapper",
            file.path.display()
        )
    })
}

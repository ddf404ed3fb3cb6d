//! How a file becomes part of containerd's configuration, by its path.
//!
//! Kubernetes distributions bring a containerd, and write its `config.toml` again at each start.
//! Each documents another way to add to it (read in their source, 2026):
//!
//! - k3s and RKE2 (`pkg/agent/containerd/config.go`, `pkg/agent/templates` of k3s): a Go template
//!   beside `config.toml`. `config-v3.toml.tmpl` is for version 3 of the configuration,
//!   `config.toml.tmpl` for version 2. `{{ template "base" . }}` in it includes the built-in
//!   template. Since March 2026 the built-in templates import `config-v3.toml.d/*.toml` or
//!   `config.toml.d/*.toml`.
//! - k0s (`pkg/component/worker/containerd`): drop-ins in `containerd.d` beside `containerd.toml`,
//!   if the first line of `containerd.toml` is `# k0s_managed=true`.
//! - MicroK8s (`run-containerd-with-args`): `containerd-template.toml` beside `containerd.toml`.
//!   `${RUNTIME}` and other variables in it are replaced.

use std::path::{Path, PathBuf};

/// The templates of k3s and RKE2, with the version of the configuration that each is for. The first
/// that exists is used.
pub(crate) const TEMPLATES: [(i64, &str); 2] =
    [(3, "config-v3.toml.tmpl"), (2, "config.toml.tmpl")];

/// The directories of drop-ins that k3s and RKE2 import, for the same versions.
pub(crate) const IMPORTED: [(i64, &str); 2] = [(3, "config-v3.toml.d"), (2, "config.toml.d")];

/// MicroK8s' template.
pub(crate) const MICROK8S: &str = "containerd-template.toml";

/// How a file becomes part of containerd's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConfigKind {
    /// containerd reads it as it is, or after a few variables in it were replaced.
    Main,
    /// The main file imports it.
    DropIn,
    /// The main file is rendered from it.
    Template,
}

impl ConfigKind {
    /// The kind of the file at `path`.
    #[must_use]
    pub(crate) fn of(path: &Path) -> Self {
        let directory = path.parent().and_then(Path::file_name).unwrap_or_default();
        if path.extension().is_some_and(|e| e == "tmpl") {
            Self::Template
        } else if directory == "containerd.d" || IMPORTED.iter().any(|(_, d)| directory == *d) {
            Self::DropIn
        } else {
            Self::Main
        }
    }
}

/// The main file of the containerd that the file at `path` configures.
#[must_use]
pub(crate) fn main_file(path: &Path) -> PathBuf {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let above = directory.parent().unwrap_or(Path::new("/"));
    let k0s = directory.file_name().is_some_and(|n| n == "containerd.d");
    match ConfigKind::of(path) {
        ConfigKind::Template => directory.join("config.toml"),
        ConfigKind::DropIn if k0s => above.join("containerd.toml"),
        ConfigKind::DropIn => above.join("config.toml"),
        ConfigKind::Main if path.file_name().is_some_and(|n| n == MICROK8S) => {
            directory.join("containerd.toml")
        }
        ConfigKind::Main => path.to_owned(),
    }
}

/// The version of the configuration that a file declares; it may be a template, which is no TOML.
pub(crate) fn version(text: &str) -> Option<i64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        let value = value.split('#').next()?;
        (key.trim() == "version").then(|| value.trim().parse().ok())?
    })
}

/// The version of the configuration that a template renders: the one that it declares, or the one
/// that its name is for.
pub(crate) fn template_version(path: &Path, text: Option<&str>) -> i64 {
    let named = TEMPLATES
        .iter()
        .find(|(_, name)| path.file_name().is_some_and(|n| n == *name));
    text.and_then(version)
        .or(named.map(|(version, _)| *version))
        .unwrap_or(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_file_says_how_it_is_read() {
        let k3s = "/var/lib/rancher/k3s/agent/etc/containerd";
        for (path, kind, main) in [
            (
                "/etc/containerd/config.toml",
                ConfigKind::Main,
                "/etc/containerd/config.toml".to_owned(),
            ),
            (
                &*format!("{k3s}/config-v3.toml.tmpl"),
                ConfigKind::Template,
                format!("{k3s}/config.toml"),
            ),
            (
                &*format!("{k3s}/config.toml.tmpl"),
                ConfigKind::Template,
                format!("{k3s}/config.toml"),
            ),
            (
                &*format!("{k3s}/config-v3.toml.d/9.toml"),
                ConfigKind::DropIn,
                format!("{k3s}/config.toml"),
            ),
            (
                "/etc/k0s/containerd.d/9.toml",
                ConfigKind::DropIn,
                "/etc/k0s/containerd.toml".to_owned(),
            ),
            (
                "/var/snap/microk8s/current/args/containerd-template.toml",
                ConfigKind::Main,
                "/var/snap/microk8s/current/args/containerd.toml".to_owned(),
            ),
        ] {
            let path = Path::new(path);
            assert_eq!(
                (ConfigKind::of(path), main_file(path)),
                (kind, PathBuf::from(main)),
                "{path:?}"
            );
        }
    }

    #[test]
    fn versions_are_found_in_templates_too() {
        let of = |name: &str, text| template_version(Path::new(name), text);
        assert_eq!(of("/d/config-v3.toml.tmpl", None), 3);
        assert_eq!(
            of("/d/config.toml.tmpl", Some("{{ template \"base\" . }}\n")),
            2
        );
        assert_eq!(
            of(
                "/d/config.toml.tmpl",
                Some("# v\n  version = 3 # now\n{{ x }}")
            ),
            3
        );
        assert_eq!(version("# version = 2\nversions = 4\n"), None);
    }
}

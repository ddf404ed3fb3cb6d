//! Whose containerd it is: the file that it reads, and the one to change so that it reads ours.
//!
//! Kubernetes distributions bring a containerd of their own, and write its configuration anew at
//! each start. What they document instead, as of their source in 2026:
//!
//! - k3s and RKE2 (`pkg/agent/containerd/config.go`, `pkg/agent/templates` of k3s): a Go template
//!   beside `config.toml`, `config-v3.toml.tmpl` for version 3 of the configuration, else
//!   `config.toml.tmpl` for version 2; the built-in one is `{{ template "base" . }}` in it. Since
//!   March 2026 the built-in ones import `config-v3.toml.d/*.toml` or `config.toml.d/*.toml`.
//! - k0s (`pkg/component/worker/containerd`): drop-ins in `containerd.d` beside `containerd.toml`,
//!   as long as the latter's first line is `# k0s_managed=true`.
//! - MicroK8s (`run-containerd-with-args`): `containerd-template.toml` beside `containerd.toml`,
//!   in which `${RUNTIME}` and others are replaced.

use std::path::{Path, PathBuf};

use crate::engine::files::imports_of;
use crate::engine::place::Place;
use crate::engine::{Engine, Text};
use oci_apparmor::error::{Error, Kind, Result};

/// The drop-in that we make.
const DROP_IN: &str = "99-oci-apparmor.toml";

/// k3s' and RKE2's templates: that for version 3 of the configuration wins.
const TEMPLATES: [(i64, &str); 2] = [(3, "config-v3.toml.tmpl"), (2, "config.toml.tmpl")];

/// The directories that they import drop-ins from, for the same versions.
const IMPORTED: [(i64, &str); 2] = [(3, "config-v3.toml.d"), (2, "config.toml.d")];

/// How k0s marks a file that it makes (`isK0sManagedConfig`).
const K0S_MANAGED: &str = "# k0s_managed=true";

/// How a file becomes part of what containerd reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is read as it is, or after a few words were replaced.
    File,
    /// It is imported by the file that is read.
    DropIn,
    /// The file that is read is rendered from it.
    Template,
}

impl Way {
    /// That of a file, by its place.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let above = path.parent().and_then(Path::file_name).unwrap_or_default();
        if path.extension().is_some_and(|e| e == "tmpl") {
            Self::Template
        } else if above == "containerd.d" || IMPORTED.iter().any(|(_, d)| above == *d) {
            Self::DropIn
        } else {
            Self::File
        }
    }
}

/// The file that containerd reads where `path` is the one that is changed.
#[must_use]
pub fn read_by_it(path: &Path) -> PathBuf {
    let beside = path.parent().unwrap_or(Path::new("/"));
    let above = beside.parent().unwrap_or(Path::new("/"));
    let k0s = beside.file_name().is_some_and(|n| n == "containerd.d");
    match Way::of(path) {
        Way::Template => beside.join("config.toml"),
        Way::DropIn if k0s => above.join("containerd.toml"),
        Way::DropIn => above.join("config.toml"),
        Way::File if path.file_name().is_some_and(|n| n == MICROK8S) => {
            beside.join("containerd.toml")
        }
        Way::File => path.to_owned(),
    }
}

/// MicroK8s' template.
const MICROK8S: &str = "containerd-template.toml";

/// Who brings a containerd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The node's distribution, or docker's packages.
    System,
    /// k3s.
    K3s,
    /// RKE2.
    Rke2,
    /// k0s.
    K0s,
    /// MicroK8s.
    Microk8s,
}

impl Owner {
    const DISTRIBUTIONS: [Self; 4] = [Self::K3s, Self::Rke2, Self::K0s, Self::Microk8s];

    /// Its name, for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::System => "containerd",
            Self::K3s => "k3s",
            Self::Rke2 => "RKE2",
            Self::K0s => "k0s",
            Self::Microk8s => "MicroK8s",
        }
    }

    /// The file that its containerd reads, unless it is told otherwise.
    #[must_use]
    pub fn reads(self) -> &'static Path {
        Path::new(match self {
            Self::System => "/etc/containerd/config.toml",
            Self::K3s => "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
            Self::Rke2 => "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
            Self::K0s => "/etc/k0s/containerd.toml",
            Self::Microk8s => "/var/snap/microk8s/current/args/containerd.toml",
        })
    }

    /// What shows that a tree has it, where none of it runs.
    fn traces(self) -> &'static [&'static str] {
        match self {
            Self::System => &["/etc/containerd/config.toml"],
            Self::K3s => &["/var/lib/rancher/k3s/agent", "/usr/local/bin/k3s"],
            Self::Rke2 => &[
                "/var/lib/rancher/rke2/agent",
                "/usr/local/bin/rke2",
                "/usr/bin/rke2",
                "/opt/rke2/bin/rke2",
            ],
            Self::K0s => &["/var/lib/k0s", "/usr/local/bin/k0s", "/usr/bin/k0s"],
            Self::Microk8s => &["/var/snap/microk8s/current"],
        }
    }

    /// Whose a file is, by its path, and by what it says of itself.
    #[must_use]
    pub fn of(path: &Path, text: Option<&str>) -> Self {
        let generator = text.and_then(generator);
        let has = |part: &str| path.components().any(|c| c.as_os_str() == part);
        match generator.as_deref() {
            Some("k3s") => Self::K3s,
            Some("rke2") => Self::Rke2,
            _ if has("rancher") && has("k3s") => Self::K3s,
            _ if has("rancher") && has("rke2") => Self::Rke2,
            _ if has("k0s") || text.is_some_and(|t| t.starts_with(K0S_MANAGED)) => Self::K0s,
            _ if has("microk8s") => Self::Microk8s,
            _ => Self::System,
        }
    }
}

/// The distributions that a tree seems to have, and whether it has another containerd as well.
#[must_use]
pub fn on_disk(place: &Place) -> (Vec<Owner>, bool) {
    let has = |owner: &Owner| owner.traces().iter().any(|path| place.has(Path::new(path)));
    let found = Owner::DISTRIBUTIONS.into_iter().filter(has).collect();
    let programs = Engine::Containerd.programs();
    let system = has(&Owner::System) || programs.iter().any(|p| place.has(Path::new(p)));
    (found, system)
}

/// The file to change so that the containerd that reads `reads` calls us.
///
/// # Errors
/// [`Kind::Policy`] where that file says that it is made anew, and nothing says from what; where a
/// distribution's version cannot be told.
pub fn to_change(place: &Place, reads: &Path) -> Result<PathBuf> {
    let text = place.read(reads)?;
    let beside = reads.parent().unwrap_or(Path::new("/"));
    match Owner::of(reads, text.as_ref().map(|t| t.text.as_str())) {
        Owner::K3s | Owner::Rke2 => rancher(place, reads, beside, text.as_ref()),
        Owner::K0s if text.as_ref().is_none_or(|t| is_k0s_managed(&t.text)) => {
            Ok(beside.join("containerd.d").join(DROP_IN))
        }
        Owner::Microk8s if place.has(&beside.join(MICROK8S)) => Ok(beside.join(MICROK8S)),
        _ => Ok(reads.to_owned()),
    }
}

fn is_k0s_managed(text: &str) -> bool {
    text.lines().next() == Some(K0S_MANAGED)
}

/// k3s' and RKE2's: a drop-in where what they make imports any, else the template that they take.
fn rancher(place: &Place, reads: &Path, beside: &Path, text: Option<&Text>) -> Result<PathBuf> {
    if let Some(text) = text {
        let imports = imports_of(text)?;
        let imported = |directory: &str| {
            let all = beside.join(directory).join("*.toml");
            imports.iter().any(|import| Path::new(import) == all)
        };
        if let Some((_, directory)) = IMPORTED.iter().find(|(_, d)| imported(d)) {
            return Ok(beside.join(directory).join(DROP_IN));
        }
    }
    if let Some((_, name)) = TEMPLATES.iter().find(|(_, n)| place.has(&beside.join(n))) {
        return Ok(beside.join(name));
    }
    let version = text.and_then(|text| version(&text.text));
    match TEMPLATES.iter().find(|(v, _)| Some(*v) == version) {
        Some((_, name)) => Ok(beside.join(name)),
        None => Err(Error::new(
            Kind::NotFound,
            format!(
                "{} is not there yet, so it cannot be told which version of the configuration its \
                 containerd reads",
                place.here(reads).display()
            ),
        )
        .with_remedy(format!(
            "start it once, or give --config {} (containerd 2, in releases since February 2025) \
             or --config {} (before)",
            beside.join(TEMPLATES[0].1).display(),
            beside.join(TEMPLATES[1].1).display()
        ))),
    }
}

/// The version of the configuration that a text names, be it a template.
pub(super) fn version(text: &str) -> Option<i64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        let value = value.split('#').next()?;
        (key.trim() == "version").then(|| value.trim().parse().ok())?
    })
}

/// The version of the configuration that a template makes: what it says, or that of its name.
pub(super) fn template_version(path: &Path, text: Option<&str>) -> i64 {
    let named = TEMPLATES
        .iter()
        .find(|(_, name)| path.file_name().is_some_and(|n| n == *name));
    text.and_then(version)
        .or(named.map(|(version, _)| *version))
        .unwrap_or(2)
}

/// The program that made a file, where its first comments say so.
fn generator(text: &str) -> Option<String> {
    let comments = text.lines().take(8).filter(|l| l.starts_with('#'));
    comments.into_iter().find_map(|line| {
        let (_, behind) = line.split_once("generated by ")?;
        let name = behind.split_whitespace().next()?;
        Some(name.trim_end_matches(['.', ',']).to_lowercase())
    })
}

/// Refuses to change a file that says that something else makes it, and will make it anew.
///
/// # Errors
/// [`Kind::Policy`], with the file to change instead where it is known.
pub fn not_generated(place: &Place, path: &Path) -> Result<()> {
    let Some(text) = place.read(path)? else {
        return Ok(());
    };
    let comments = text.text.lines().take(8).filter(|l| l.starts_with('#'));
    let says = |line: &str| {
        let line = line.to_lowercase();
        ["do not edit", "generated by", "k0s_managed=true"]
            .iter()
            .any(|phrase| line.contains(phrase))
    };
    let Some(line) = comments.into_iter().find(|line| says(line)) else {
        return Ok(());
    };
    let instead = to_change(place, path).ok().filter(|other| other != path);
    let hint = match instead {
        Some(other) => format!("give --config {}; nothing was changed", other.display()),
        None => "change what it is made from, or take that line out if it is not so; nothing was \
                 changed"
            .to_owned(),
    };
    Err(Error::new(
        Kind::Policy,
        format!(
            "{} says that it is made by another program, which would drop our runtime at its next \
             start: {}",
            place.here(path).display(),
            oci_apparmor::error::quoted(line.trim_start_matches(['#', ' ']))
        ),
    )
    .with_remedy(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_by_its_place_how_it_is_read() {
        let k3s = "/var/lib/rancher/k3s/agent/etc/containerd";
        for (path, way, reads) in [
            (
                "/etc/containerd/config.toml",
                Way::File,
                "/etc/containerd/config.toml".to_owned(),
            ),
            (
                &*format!("{k3s}/config-v3.toml.tmpl"),
                Way::Template,
                format!("{k3s}/config.toml"),
            ),
            (
                &*format!("{k3s}/config.toml.tmpl"),
                Way::Template,
                format!("{k3s}/config.toml"),
            ),
            (
                &*format!("{k3s}/config-v3.toml.d/9.toml"),
                Way::DropIn,
                format!("{k3s}/config.toml"),
            ),
            (
                "/etc/k0s/containerd.d/9.toml",
                Way::DropIn,
                "/etc/k0s/containerd.toml".to_owned(),
            ),
            (
                "/var/snap/microk8s/current/args/containerd-template.toml",
                Way::File,
                "/var/snap/microk8s/current/args/containerd.toml".to_owned(),
            ),
        ] {
            let path = Path::new(path);
            assert_eq!(
                (Way::of(path), read_by_it(path)),
                (way, PathBuf::from(reads)),
                "{path:?}"
            );
        }
    }

    #[test]
    fn a_file_tells_by_its_text_whose_it_is() {
        let of = |path: &str, text| Owner::of(Path::new(path), text);
        let elsewhere = "/data/agent/etc/containerd/config.toml";
        let made = "\n# File generated by rke2. DO NOT EDIT. Use config.toml.tmpl instead.\n";
        assert_eq!(of(elsewhere, Some(made)), Owner::Rke2);
        assert_eq!(of(elsewhere, Some("version = 2\n")), Owner::System);
        for owner in Owner::DISTRIBUTIONS {
            assert_eq!(Owner::of(owner.reads(), None), owner);
        }
        assert_eq!(of("/etc/containerd/config.toml", None), Owner::System);
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

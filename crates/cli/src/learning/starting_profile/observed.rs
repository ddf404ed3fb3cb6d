//! What the file system of a container adds to its configuration.

use std::collections::BTreeMap;

use crate::learning::starting_profile::spec::SpecMount;

/// What the file system says that `config.json` does not: where links lead to.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// The programs that the container is started with, as the kernel names them.
    pub(crate) programs: Vec<String>,
    /// The mount points, by the destination in `config.json`.
    pub(crate) points: BTreeMap<String, Point>,
}

/// A mount point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Point {
    /// Its path in the container, without links and without a slash at the end.
    pub(crate) path: String,
    /// Whether it is a directory; `None` if that is not known.
    pub(crate) is_directory: Option<bool>,
}

impl Observed {
    /// The mount point of a mount.
    pub(super) fn point(&self, mount: &SpecMount) -> Point {
        let seen = self.points.get(mount.destination()).cloned();
        seen.unwrap_or_else(|| Point {
            path: normal(mount.destination()),
            is_directory: (!mount.is_bind()).then_some(true),
        })
    }
}

/// A path of a container without `.`, `..` and empty components.
pub(super) fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

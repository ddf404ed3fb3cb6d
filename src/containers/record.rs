//! The record of a container: which label it has, for `exec`, `start` and `restore`.
//!
//! Engines build the process of an `exec` themselves and do not know the decided label. Without a
//! record it would get the engine's default. A record can be rebuilt: the bundle that the runtime's
//! state names contains the label.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_apparmor_entry::process_id;
use serde::{Deserialize, Serialize};

use crate::apparmor::loaded::Mode;
use crate::apparmor::name::{Label, ProfileName};
use crate::profiles::Ensured;
use crate::wanted::{Component, Wanted};

/// The version of the format. It is raised if older programs must not use newer records.
const VERSION: u32 = 2;

/// The oldest version that is read, since nodes are updated while containers run. Version 1 had no
/// `uid`.
const OLDEST: u32 = 1;

/// What identifies a container on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerKey<'a> {
    /// The runtime's root directory.
    pub root: &'a Path,
    /// The container's id, which is a valid file name.
    pub id: &'a str,
}

impl ContainerKey<'_> {
    /// Where the runtime keeps the state of the container.
    #[must_use]
    pub fn state_directory(self) -> PathBuf {
        self.root.join(self.id)
    }
}

/// The record of one container; `docs/formats.md` describes each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the format.
    pub version: u32,
    /// The name of the low-level runtime.
    pub runtime: String,
    /// The runtime's program; later calls for the container use the same one.
    #[serde(default)]
    pub program: Option<PathBuf>,
    /// The runtime's root directory.
    pub root: PathBuf,
    /// The container's id.
    pub id: String,
    /// The bundle.
    pub bundle: PathBuf,
    /// The label; none for a sandbox that has a record only for its annotations.
    pub label: Option<Label>,
    /// Each profile of the label.
    pub components: Vec<RecordedProfile>,
    /// The key that named the profile.
    pub key: Option<String>,
    /// The pod's namespace.
    pub namespace: Option<String>,
    /// The pod's name.
    pub pod: Option<String>,
    /// The pod's UID.
    #[serde(default)]
    pub uid: Option<String>,
    /// The container's name in its pod.
    pub container: Option<String>,
    /// The id of its sandbox.
    pub sandbox: Option<String>,
    /// Where the runtime writes the container's process id.
    pub pid_file: Option<PathBuf>,
    /// For a sandbox: our annotations, which its containers must have as well.
    pub annotations: BTreeMap<String, String>,
    /// The process that wrote the record and became the low-level runtime.
    pub writer: u32,
    /// When it was written, RFC 3339.
    pub time: String,
}

/// One profile of a recorded label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedProfile {
    /// The profile.
    pub name: ProfileName,
    /// The mode that it must have.
    pub wanted: Wanted,
    /// The mode that it had.
    pub mode: Mode,
    /// Its directory in the kernel; empty if it was not looked up.
    pub directory: String,
}

impl Record {
    /// A record without optional fields, written by this process now.
    #[must_use]
    pub fn new(runtime: &str, key: ContainerKey<'_>, bundle: &Path) -> Self {
        Self {
            version: VERSION,
            runtime: runtime.to_owned(),
            program: None,
            root: key.root.to_owned(),
            id: key.id.to_owned(),
            bundle: bundle.to_owned(),
            label: None,
            components: Vec::new(),
            key: None,
            namespace: None,
            pod: None,
            uid: None,
            container: None,
            sandbox: None,
            pid_file: None,
            annotations: BTreeMap::new(),
            writer: process_id::own(),
            time: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
        }
    }

    /// The container that the record is about.
    #[must_use]
    pub fn container_key(&self) -> ContainerKey<'_> {
        ContainerKey {
            root: &self.root,
            id: &self.id,
        }
    }

    /// Whether this program can use records of this version.
    pub(super) fn is_supported(&self) -> bool {
        (OLDEST..=VERSION).contains(&self.version)
    }

    /// Whether both records are of one container. `exec` may rewrite a record; a later container with
    /// the same id has another writer.
    pub(super) fn is_of_the_same_container_as(&self, other: &Self) -> bool {
        (self.writer, &self.time, &self.bundle) == (other.writer, &other.time, &other.bundle)
    }
}

/// Whether a version is newer than what this program can use.
pub(super) fn is_newer(version: u32) -> bool {
    version > VERSION
}

impl RecordedProfile {
    /// A profile that is in the kernel.
    #[must_use]
    pub fn of(ensured: &Ensured) -> Self {
        Self {
            name: ensured.component.name.clone(),
            wanted: ensured.component.wanted,
            mode: ensured.loaded.mode,
            directory: ensured.loaded.directory.clone(),
        }
    }

    /// A profile that was not looked up yet.
    #[must_use]
    pub fn not_looked_up(component: Component) -> Self {
        let Component { name, wanted } = component;
        Self {
            name,
            wanted,
            mode: Mode::Enforce,
            directory: String::new(),
        }
    }

    /// The profile and its mode, as `exec` needs them.
    #[must_use]
    pub fn component(&self) -> Component {
        Component {
            name: self.name.clone(),
            wanted: self.wanted,
        }
    }
}

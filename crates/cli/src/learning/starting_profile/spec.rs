//! What `config.json` says of a container, as far as a profile can say it too (runtime-spec
//! config.md, config-linux.md).
//!
//! Fields are optional and values are text: an engine may be newer than this program, and what is
//! not understood is left out of the profile.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use oci_apparmor::error::{Error, Kind, Result};

/// The configuration of a container.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ContainerSpec {
    pub(super) process: Option<SpecProcess>,
    root: Option<SpecRoot>,
    mounts: Option<Vec<SpecMount>>,
    linux: Option<SpecLinux>,
    annotations: Option<BTreeMap<String, String>>,
}

/// The program that the container was started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartedBy {
    /// podman.
    Podman,
    /// docker.
    Docker,
    /// A kubelet, by containerd or CRI-O.
    Kubernetes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SpecProcess {
    pub(super) terminal: Option<bool>,
    user: Option<SpecUser>,
    args: Option<Vec<String>>,
    env: Option<Vec<String>>,
    cwd: Option<String>,
    capabilities: Option<SpecCapabilities>,
    no_new_privileges: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
struct SpecUser {
    uid: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
struct SpecCapabilities {
    bounding: Option<Vec<String>>,
    ambient: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
struct SpecRoot {
    path: Option<String>,
    readonly: Option<bool>,
}

/// A mount of a container.
#[derive(Debug, Default, Clone, Deserialize)]
pub(crate) struct SpecMount {
    destination: Option<String>,
    r#type: Option<String>,
    source: Option<String>,
    options: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecLinux {
    namespaces: Option<Vec<SpecNamespace>>,
    devices: Option<Vec<SpecDevice>>,
    masked_paths: Option<Vec<String>>,
    readonly_paths: Option<Vec<String>>,
    cgroups_path: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct SpecNamespace {
    r#type: Option<String>,
}

/// A device node of a container.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SpecDevice {
    pub(super) path: Option<String>,
    pub(super) r#type: Option<String>,
}

/// A character in JSON.
const NUL: &[u8] = b"\\u0000";

/// Programs that start another one, and stay as the first process.
const INITS: [&str; 6] = [
    "docker-init",
    "podman-init",
    "catatonit",
    "tini",
    "dumb-init",
    "init",
];

/// Where programs are looked for, if the environment does not say.
const SEARCHED: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl ContainerSpec {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`Kind::Internal`] if it is no configuration of a container.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        // No path has such a byte, and apparmor_parser would take the rest of the text for nothing.
        if bytes.windows(NUL.len()).any(|part| part == NUL) {
            return Err(unreadable("it has a character U+0000"));
        }
        serde_json::from_slice(bytes).map_err(|e| unreadable(&e.to_string()))
    }

    /// The programs that the container is started with, as paths to try: the first that exists is
    /// meant. There are two if the first is an init that starts the second.
    pub(crate) fn programs(&self) -> Vec<Vec<String>> {
        let args = self.process.as_ref().and_then(|p| p.args.as_deref());
        let mut words = args.unwrap_or_default().iter();
        let Some(first) = words.next().filter(|word| !word.is_empty()) else {
            return Vec::new();
        };
        let mut found = vec![self.candidates(first)];
        let name = first.rsplit('/').next().unwrap_or_default();
        if INITS.contains(&name)
            && let Some(second) = words.find(|word| !word.starts_with('-'))
        {
            found.push(self.candidates(second));
        }
        found
    }

    fn candidates(&self, word: &str) -> Vec<String> {
        let process = self.process.as_ref();
        if word.starts_with('/') {
            return vec![word.to_owned()];
        }
        let join = |directory: &str| format!("{}/{word}", directory.trim_end_matches('/'));
        if word.contains('/') {
            let cwd = process.and_then(|p| p.cwd.as_deref()).unwrap_or("/");
            return vec![join(cwd)];
        }
        let env = process.and_then(|p| p.env.as_deref()).unwrap_or_default();
        let path = env.iter().find_map(|v| v.strip_prefix("PATH="));
        let directories = path.unwrap_or(SEARCHED).split(':');
        let absolute = directories.filter(|d| d.starts_with('/'));
        absolute.map(join).collect()
    }

    /// The program that it was started with, if the configuration tells it.
    pub(crate) fn started_by(&self) -> Option<StartedBy> {
        let annotations = self.annotations.iter().flatten();
        for (key, value) in annotations {
            // CRI's and CRI-O's; podman's kube play has neither.
            if key.starts_with("io.kubernetes.cri") {
                return Some(StartedBy::Kubernetes);
            }
            if key == "io.container.manager" && value == "libpod" {
                return Some(StartedBy::Podman);
            }
        }
        // docker's configurations have no annotations of their own.
        let cgroup = self
            .linux
            .as_ref()
            .and_then(|l| l.cgroups_path.as_deref())?;
        let mut parts = cgroup.split(['/', ':']);
        parts.any(|p| p == "docker").then_some(StartedBy::Docker)
    }

    /// The directory of its root file system, from its bundle.
    pub(crate) fn root(&self) -> Option<&str> {
        self.root.as_ref()?.path.as_deref()
    }

    /// Whether only mounts can be written.
    pub(super) fn has_read_only_root(&self) -> bool {
        self.root.as_ref().and_then(|r| r.readonly) == Some(true)
    }

    /// Its mounts, in their order: a later one hides an earlier one.
    pub(crate) fn mounts(&self) -> &[SpecMount] {
        self.mounts.as_deref().unwrap_or_default()
    }

    /// Its additional device nodes.
    pub(super) fn devices(&self) -> &[SpecDevice] {
        let linux = self.linux.as_ref();
        linux.and_then(|l| l.devices.as_deref()).unwrap_or_default()
    }

    /// Whether a path is hidden by the runtime.
    pub(super) fn is_masked(&self, path: &str) -> bool {
        let linux = self.linux.as_ref();
        covers(linux.and_then(|l| l.masked_paths.as_deref()), path)
    }

    /// Whether the runtime makes a path read-only.
    pub(super) fn is_made_read_only(&self, path: &str) -> bool {
        let linux = self.linux.as_ref();
        covers(linux.and_then(|l| l.readonly_paths.as_deref()), path)
    }

    /// Whether it has a network of its own, or that of its pod, instead of the node's.
    pub(super) fn has_own_network(&self) -> bool {
        let namespaces = self.linux.as_ref().and_then(|l| l.namespaces.as_deref());
        let mut kinds = namespaces.unwrap_or_default().iter();
        kinds.any(|n| n.r#type.as_deref() == Some("network"))
    }

    /// Whether no program that it executes can gain privileges.
    pub(super) fn has_no_new_privileges(&self) -> bool {
        self.process.as_ref().and_then(|p| p.no_new_privileges) == Some(true)
    }

    /// Whether its first process is root, in its user namespace.
    pub(super) fn is_root(&self) -> bool {
        self.uid() == 0
    }

    /// The user of its first process.
    pub(super) fn uid(&self) -> u32 {
        let user = self.process.as_ref().and_then(|p| p.user.as_ref());
        user.and_then(|u| u.uid).unwrap_or(0)
    }

    /// The capabilities that its processes have without a set-user-ID program, as AppArmor spells
    /// them: root gets the bounding set at execve(2), other users the ambient set (capabilities(7)).
    pub(super) fn capabilities(&self) -> BTreeSet<String> {
        let sets = self.process.as_ref().and_then(|p| p.capabilities.as_ref());
        let set = sets.and_then(|sets| match self.is_root() {
            true => sets.bounding.as_deref(),
            false => sets.ambient.as_deref(),
        });
        let names = set.unwrap_or_default().iter();
        names
            .map(|name| {
                let name = name.to_ascii_lowercase();
                name.strip_prefix("cap_").unwrap_or(&name).to_owned()
            })
            .collect()
    }
}

fn unreadable(why: &str) -> Error {
    Error::new(
        Kind::Internal,
        format!("it is not an OCI runtime configuration: {why}"),
    )
    .with_remedy("name the bundle of a container")
}

/// Whether one of these paths is `path`, or a directory above it.
fn covers(paths: Option<&[String]>, path: &str) -> bool {
    let mut paths = paths.unwrap_or_default().iter();
    paths.any(|above| {
        path.strip_prefix(above.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

impl SpecMount {
    /// Where it is, as it is written.
    pub(crate) fn destination(&self) -> &str {
        self.destination.as_deref().unwrap_or_default()
    }

    /// What is mounted.
    pub(crate) fn source(&self) -> &str {
        self.source.as_deref().unwrap_or_default()
    }

    /// The type of its file system; `bind` for a bind mount.
    pub(super) fn kind(&self) -> &str {
        match self.is_bind() {
            true => "bind",
            false => self.r#type.as_deref().unwrap_or_default(),
        }
    }

    /// Whether it is a bind mount: an option makes it one, whatever its type is.
    pub(crate) fn is_bind(&self) -> bool {
        self.r#type.as_deref() == Some("bind") || self.has("bind") || self.has("rbind")
    }

    /// Whether it can only be read. The last of several options counts (mount(8)).
    pub(super) fn is_read_only(&self) -> bool {
        let options = self.options.as_deref().unwrap_or_default();
        let mut last = options.iter().rev().map(String::as_str);
        last.find(|o| matches!(*o, "ro" | "rro" | "rw" | "rrw"))
            .is_some_and(|o| o.ends_with("ro"))
    }

    fn has(&self, option: &str) -> bool {
        let options = self.options.as_deref().unwrap_or_default();
        options.iter().any(|o| o == option)
    }
}

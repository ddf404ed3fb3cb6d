//! The engines whose configuration this program changes.

use std::path::Path;

use crate::engine::config_kind::ConfigKind;

/// A program that calls an OCI runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// containerd's CRI plugin, for Kubernetes.
    Containerd,
    /// CRI-O.
    Crio,
    /// podman.
    Podman,
    /// dockerd.
    Docker,
}

impl Engine {
    /// All engines.
    pub const ALL: [Self; 4] = [Self::Containerd, Self::Crio, Self::Podman, Self::Docker];

    /// The engine of this name on the command line.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.name() == name)
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Crio => "crio",
            Self::Podman => "podman",
            Self::Docker => "docker",
        }
    }

    /// Its name in messages.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Crio => "CRI-O",
            other => other.name(),
        }
    }

    /// The paths of its program. If one of them exists, the engine is installed.
    #[must_use]
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Containerd => &["/usr/bin/containerd", "/usr/local/bin/containerd"],
            Self::Crio => &["/usr/bin/crio", "/usr/local/bin/crio"],
            Self::Podman => &["/usr/bin/podman", "/usr/local/bin/podman"],
            Self::Docker => &[
                "/usr/bin/dockerd",
                "/usr/sbin/dockerd",
                "/usr/local/bin/dockerd",
            ],
        }
    }

    /// The file that `configure` changes or creates, unless `--config` names another.
    #[must_use]
    pub fn configuration(self) -> &'static Path {
        Path::new(match self {
            Self::Containerd => "/etc/containerd/config.toml",
            Self::Crio => "/etc/crio/crio.conf.d/99-oci-apparmor.conf",
            Self::Podman => "/etc/containers/containers.conf.d/99-oci-apparmor.conf",
            Self::Docker => "/etc/docker/daemon.json",
        })
    }

    /// Whether `path` is a drop-in that `configure` creates, not a file that it edits.
    #[must_use]
    pub fn takes_a_drop_in(self, path: &Path) -> bool {
        match self {
            Self::Crio | Self::Podman => true,
            Self::Containerd => ConfigKind::of(path) == ConfigKind::DropIn,
            Self::Docker => false,
        }
    }

    /// The command after which the engine uses its changed configuration; `None` where none is
    /// needed. `removed`: a runtime was removed from the configuration.
    #[must_use]
    pub fn restart(self, removed: bool) -> Option<&'static str> {
        match self {
            Self::Containerd => Some("systemctl restart containerd"),
            Self::Crio => Some("systemctl restart crio"),
            // podman reads its configuration at each call.
            Self::Podman => None,
            // A reload stops no container. docker 26 then adds new runtimes, but removes none.
            Self::Docker if removed => Some("systemctl restart docker"),
            Self::Docker => Some("systemctl reload docker"),
        }
    }
}

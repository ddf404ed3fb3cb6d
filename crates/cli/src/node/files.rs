//! What is installed on a node, and where. `install.sh` has the same list, and manual pages,
//! documentation and completions besides; `tests/docs/node_install.rs` compares them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use oci_apparmor::error::{Error, Kind, Result};

/// Where units go if systemd does not look for them below the prefix (systemd.unit(5)).
const SYSTEM_UNITS: &str = "/etc/systemd/system";

/// The configuration of this node.
pub(super) const CONFIG: &str = "/etc/oci-apparmor/config.toml";

/// The directory of the node's own profiles.
const PROFILES: &str = "/etc/oci-apparmor/profiles";

/// The names by which engines call the wrapper.
const LINKS: [&str; 3] = ["runc", "crun", "youki"];

/// The programs, by their names.
const PROGRAMS: [&str; 3] = ["oci-apparmor", "oci-apparmor-runtime", "oci-apparmor-hook"];

/// No program is larger, in bytes; with debugging information they have 50 MB.
const MAX_PROGRAM: u64 = 256 << 20;

const HOOKS: [(&str, &str); 3] = [
    (
        "hooks.d/oci-apparmor.json",
        include_str!("../../../../hooks/oci-apparmor.json"),
    ),
    (
        "always-hooks.d/oci-apparmor.json",
        include_str!("../../../../hooks/always/oci-apparmor.json"),
    ),
    (
        "podman-hooks.d/oci-apparmor-precreate.json",
        include_str!("../../../../hooks/podman/oci-apparmor-precreate.json"),
    ),
];

macro_rules! unit {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../../../config/systemd/", $name)),
        )
    };
}

const UNITS: [(&str, &str); 9] = [
    unit!("oci-apparmor-preload.service"),
    unit!("oci-apparmor-gc.service"),
    unit!("oci-apparmor-gc.timer"),
    unit!("oci-apparmor-metrics.service"),
    unit!("oci-apparmor-metrics.timer"),
    unit!("oci-apparmor-node-status.service"),
    unit!("oci-apparmor-node-status.timer"),
    unit!("oci-apparmor-sync.service"),
    unit!("oci-apparmor-sync.path"),
];

/// The units that a node of a cluster needs, with the target that starts each.
const ENABLED: [(&str, &str); 4] = [
    ("oci-apparmor-sync.path", "multi-user.target"),
    ("oci-apparmor-sync.service", "multi-user.target"),
    ("oci-apparmor-gc.timer", "timers.target"),
    ("oci-apparmor-node-status.timer", "timers.target"),
];

/// What is started at once; the first one starts the service.
pub(super) const STARTED: [&str; 3] = [
    "oci-apparmor-sync.path",
    "oci-apparmor-gc.timer",
    "oci-apparmor-node-status.timer",
];

/// The agent's own profile, which its pod names.
const AGENT: (&str, &str) = (
    "oci-apparmor-agent",
    include_str!("../../../../deploy/node/oci-apparmor-agent"),
);

const CONFIG_TEXT: &str = include_str!("../../../../config/config.toml");

/// The contents of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EntryContent {
    /// A file.
    File {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Its mode.
        mode: u32,
    },
    /// A symbolic link to this path.
    Link(PathBuf),
}

/// What becomes of an entry that was changed since it was installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfEdited {
    /// It is replaced: no one edits programs, so it is damaged.
    Replaced,
    /// It is kept: an administrator has edited it.
    Kept,
}

/// One entry to install.
#[derive(Debug)]
pub(super) struct InstalledEntry {
    pub(super) path: PathBuf,
    pub(super) content: EntryContent,
    pub(super) edited: IfEdited,
}

/// The programs of this release, with their bytes: they are read before the node is entered.
#[derive(Debug)]
pub(crate) struct Programs(BTreeMap<&'static str, Vec<u8>>);

impl Programs {
    /// Those beside the program of this process.
    ///
    /// # Errors
    /// If one of them is missing.
    pub(crate) fn beside_this() -> Result<Self> {
        let own = std::env::current_exe()
            .map_err(|e| Error::io("find", Path::new("oci-apparmor"), &e))?;
        let directory = own.parent().unwrap_or(Path::new("/"));
        let read = PROGRAMS.into_iter().map(|name| {
            // In a package the hook is in another directory.
            let places = [
                directory.join(name),
                directory.join("../libexec/oci-apparmor").join(name),
            ];
            let path = places.iter().find(|path| path.exists());
            let path = path.ok_or_else(|| {
                Error::new(
                    Kind::NotFound,
                    format!("there is no {name} beside {}", own.display()),
                )
                .with_remedy("run the command from a directory that has all programs")
            })?;
            let size = fs::metadata(path).map_or(0, |meta| meta.len());
            if size > MAX_PROGRAM {
                let why = format!("{} is larger than {MAX_PROGRAM} bytes", path.display());
                return Err(Error::new(Kind::Configuration, why)
                    .with_remedy("run the command from a directory that has all programs"));
            }
            let bytes = fs::read(path).map_err(|e| Error::io("read", path, &e))?;
            Ok((name, bytes))
        });
        Ok(Self(read.collect::<Result<_>>()?))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        self.0.get(name).cloned().unwrap_or_default()
    }
}

/// Where things are below a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    prefix: PathBuf,
}

impl Layout {
    pub(super) fn new(prefix: &Path) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// The program of this release, on the node.
    pub(super) fn program(&self) -> PathBuf {
        self.prefix.join("bin/oci-apparmor")
    }

    /// The directory of the wrapper's links.
    pub(super) fn libexec(&self) -> PathBuf {
        self.prefix.join("libexec/oci-apparmor")
    }

    fn units(&self) -> PathBuf {
        match self.prefix.to_str() {
            Some("/usr" | "/usr/local") => self.prefix.join("lib/systemd/system"),
            _ => PathBuf::from(SYSTEM_UNITS),
        }
    }

    /// All entries, in the order in which they are written: what is called before what calls it.
    pub(super) fn entries(&self, programs: Programs) -> Vec<InstalledEntry> {
        let bin = self.prefix.join("bin");
        let libexec = self.libexec();
        let share = self.prefix.join("share/oci-apparmor");
        let mut all = Vec::new();
        let program = |directory: &Path, name: &str| InstalledEntry {
            path: directory.join(name),
            content: EntryContent::File {
                bytes: programs.bytes(name),
                mode: 0o755,
            },
            edited: IfEdited::Replaced,
        };
        all.push(program(&bin, "oci-apparmor"));
        all.push(program(&bin, "oci-apparmor-runtime"));
        all.push(program(&libexec, "oci-apparmor-hook"));
        for name in LINKS {
            all.push(InstalledEntry {
                path: libexec.join(name),
                content: EntryContent::Link(PathBuf::from("../../bin/oci-apparmor-runtime")),
                edited: IfEdited::Replaced,
            });
        }
        for (name, text) in HOOKS {
            let text = text.replace("@LIBEXECDIR@", &libexec.to_string_lossy());
            all.push(kept(share.join(name), text));
        }
        for (name, text) in UNITS {
            let text = text.replace("@BINDIR@", &bin.to_string_lossy());
            all.push(kept(self.units().join(name), text));
        }
        all.push(kept(Path::new(PROFILES).join(AGENT.0), AGENT.1.to_owned()));
        for (name, target) in ENABLED {
            let wants = Path::new(SYSTEM_UNITS).join(format!("{target}.wants"));
            all.push(InstalledEntry {
                path: wants.join(name),
                content: EntryContent::Link(self.units().join(name)),
                edited: IfEdited::Kept,
            });
        }
        all
    }
}

fn kept(path: PathBuf, text: String) -> InstalledEntry {
    InstalledEntry {
        path,
        content: EntryContent::File {
            bytes: text.into_bytes(),
            mode: 0o644,
        },
        edited: IfEdited::Kept,
    }
}

/// The configuration of a node of a cluster: the default one, with the section that takes profiles
/// from the cluster.
pub(super) fn config() -> InstalledEntry {
    kept(
        PathBuf::from(CONFIG),
        CONFIG_TEXT.replace("\n#[cluster]\n", "\n[cluster]\n"),
    )
}

#[cfg(test)]
mod tests {
    use oci_apparmor::settings::Settings;

    use super::*;

    #[test]
    fn the_configuration_takes_profiles_from_the_cluster() {
        let EntryContent::File { bytes, .. } = config().content else {
            panic!()
        };
        let settings = Settings::parse(Path::new(CONFIG), &bytes).unwrap();
        assert!(settings.cluster.is_some());
    }

    #[test]
    fn units_are_where_systemd_looks_for_them() {
        for (prefix, units) in [
            ("/usr", "/usr/lib/systemd/system"),
            ("/usr/local", "/usr/local/lib/systemd/system"),
            ("/opt/oci-apparmor", SYSTEM_UNITS),
        ] {
            assert_eq!(Layout::new(Path::new(prefix)).units(), Path::new(units));
        }
    }
}

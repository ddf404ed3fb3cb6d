//! `[cluster]`: the profiles that this node takes from a Kubernetes cluster.

use crate::settings::entries::{Read, TomlEntry, each, list, number, path, pattern, size, table};
use crate::settings::values::{AbsolutePath, Pattern};

/// The directory of the sources that `oci-apparmor sync` has accepted. The last of the profile
/// directories, so that a source of the node or of the distribution always comes first.
pub const CLUSTER_PROFILES: &str = "/var/lib/oci-apparmor/cluster-profiles";

/// The section `[cluster]`.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// The names that profiles of the cluster may have.
    pub allow: Vec<Pattern>,
    /// How many profiles are taken.
    pub max_profiles: usize,
    /// How large one file of the spool may be, in KiB.
    pub max_size: u64,
    /// Where the files are that come from the cluster. Its owner is not trusted.
    pub spool: AbsolutePath,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            allow: Pattern::try_from("cluster-*".to_owned())
                .into_iter()
                .collect(),
            max_profiles: 500,
            max_size: 256,
            spool: AbsolutePath::of("/var/lib/oci-apparmor/spool"),
        }
    }
}

impl ClusterSettings {
    /// Reads the section.
    pub(super) fn read(section: &TomlEntry<'_>) -> Read<Self> {
        let known = ["allow", "max_profiles", "max_size", "spool"];
        let mut it = Self::default();
        each(
            table(section, "ClusterSettings")?,
            &known,
            &mut |key, value| {
                match key {
                    "allow" => it.allow = list(value, pattern)?,
                    "max_profiles" => it.max_profiles = size(value)?,
                    "max_size" => it.max_size = number(value)?,
                    "spool" => it.spool = path(value)?,
                    _ => return Ok(false),
                }
                Ok(true)
            },
        )?;
        Ok(it)
    }

    /// Whether a profile of the cluster may have this name.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        self.allow.iter().any(|pattern| pattern.matches_text(name))
    }

    /// [`ClusterSettings::max_size`] in bytes.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.max_size.saturating_mul(1 << 10)
    }
}

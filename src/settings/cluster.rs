//! `[cluster]`: the profiles that this node takes from a Kubernetes cluster.

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

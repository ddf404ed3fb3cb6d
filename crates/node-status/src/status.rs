//! The fields of the status, by the names that they have in the definition.

use serde::{Deserialize, Serialize};

/// What one node says about AppArmor and oci-apparmor. What is not known is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// The kernel and the compiler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelStatus>,
    /// The versions of the programs.
    pub versions: ProgramVersions,
    /// The engines, that of the kubelet first.
    pub engines: Vec<EngineStatus>,
    /// How many profiles there are, by state.
    pub profile_counts: ProfileCounts,
    /// The profiles, those that need attention first.
    pub profiles: Vec<NodeProfile>,
    /// The containers, by the labels of their processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containers: Option<ContainerCounts>,
    /// What AppArmor denied in the last hour; nothing if no log can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denials: Option<DenialCounts>,
    /// Ready and ProfilesAccepted.
    pub conditions: Vec<NodeCondition>,
}

/// The kernel and the compiler.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KernelStatus {
    /// The release, as `uname -r` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The version of `apparmor_parser`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parser: Option<String>,
    /// Whether the kernel enforces profiles.
    pub enforcing: bool,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The versions of the programs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgramVersions {
    /// That of `oci-apparmor-agent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// That of `oci-apparmor`, which is installed with the wrapper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrapper: Option<String>,
}

/// For which containers an engine calls oci-apparmor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EngineCalls {
    /// For all.
    All,
    /// For those that name its runtime.
    Named,
    /// Only the hook is called.
    Hook,
    /// For none.
    None,
    /// It cannot be told.
    Unknown,
}

/// An engine of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStatus {
    /// Its name.
    pub name: String,
    /// For which containers it calls oci-apparmor.
    pub calls: EngineCalls,
    /// Why it does not, or why that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How many profiles there are, by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProfileCounts {
    /// Accepted, and not loaded yet.
    pub ready: u64,
    /// Loaded, as the source says.
    pub loaded: u64,
    /// Not accepted.
    pub refused: u64,
    /// Loaded, but different from the source.
    pub drift: u64,
    /// Not to be loaded.
    pub disabled: u64,
}

/// The state of a profile. The order is that of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ProfileState {
    /// Not accepted.
    Refused,
    /// In the kernel, but different from its source.
    Drift,
    /// Not to be loaded.
    Disabled,
    /// Accepted, and not loaded yet.
    Ready,
    /// In the kernel, as its source says.
    Loaded,
}

/// A profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeProfile {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: ProfileState,
    /// Why it is in this state, or what is to be known about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Containers, by the labels of their processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerCounts {
    /// All processes have the label of the container.
    pub confined: u64,
    /// A process has another label.
    pub wrong: u64,
    /// The container is to have no profile.
    pub unconfined: u64,
}

/// What AppArmor denied in the last hour.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DenialCounts {
    /// All of it.
    pub total: u64,
    /// Records that the kernel or the logs dropped.
    pub lost: u64,
    /// The profiles with the most denials.
    pub by_profile: Vec<ProfileDenials>,
}

/// The denials of one profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileDenials {
    /// Its name.
    pub profile: String,
    /// How many there are.
    pub count: u64,
}

/// Whether a condition is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It is.
    True,
    /// It is not.
    False,
    /// It cannot be told.
    Unknown,
}

/// A condition, as Kubernetes has them (`meta/v1.Condition`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCondition {
    /// Which one.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is met.
    pub status: ConditionStatus,
    /// Since when, as RFC 3339 writes it.
    pub last_transition_time: String,
    /// Why, as one word.
    pub reason: String,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl ProfileCounts {
    /// Counts one profile more.
    pub fn add(&mut self, state: ProfileState) {
        let count = match state {
            ProfileState::Refused => &mut self.refused,
            ProfileState::Drift => &mut self.drift,
            ProfileState::Disabled => &mut self.disabled,
            ProfileState::Ready => &mut self.ready,
            ProfileState::Loaded => &mut self.loaded,
        };
        *count = count.saturating_add(1);
    }

    /// All of them.
    #[must_use]
    pub fn all(self) -> u64 {
        let Self {
            ready,
            loaded,
            refused,
            drift,
            disabled,
        } = self;
        let all = [ready, loaded, refused, drift, disabled].into_iter();
        all.fold(0, u64::saturating_add)
    }
}

impl NodeStatus {
    /// Replaces the profiles, all of them, and their counts.
    pub fn set_profiles(&mut self, profiles: Vec<NodeProfile>) {
        self.profile_counts = ProfileCounts::default();
        for profile in &profiles {
            self.profile_counts.add(profile.state);
        }
        self.profiles = profiles;
    }

    /// The condition of this type.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&NodeCondition> {
        self.conditions.iter().find(|c| c.kind == kind)
    }

    /// The profiles that are refused.
    pub fn refused(&self) -> impl Iterator<Item = &NodeProfile> {
        let profiles = self.profiles.iter();
        profiles.filter(|profile| profile.state == ProfileState::Refused)
    }
}

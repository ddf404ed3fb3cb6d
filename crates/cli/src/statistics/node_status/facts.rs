//! What is known of the node, as parts of the status.

use std::collections::BTreeMap;

use oci_apparmor_node_status::{
    ContainerCounts, DenialCounts, EngineCalls, EngineStatus, KernelStatus, NodeProfile,
    ProfileDenials, ProfileState,
};

use crate::checks::wiring::{EngineWiring, WrapperCalls};
use crate::cluster::{SyncState, SyncedProfile};
use crate::statistics::containers::LabelState;
use crate::statistics::denial_totals::DenialTotals;
use crate::statistics::node_facts::NodeFacts;
use crate::statistics::profiles::ProfileStatus;
use oci_apparmor::profiles::Drift;

/// What `apparmor_parser --version` prints before the number.
const PARSER: &str = "AppArmor parser version ";

/// The kernel and the compiler.
pub(super) fn kernel(facts: &NodeFacts) -> KernelStatus {
    let parser = facts.parser.as_deref();
    KernelStatus {
        release: facts.kernel.clone(),
        parser: parser.map(|text| text.strip_prefix(PARSER).unwrap_or(text).to_owned()),
        enforcing: facts.enforcing,
        reason: facts.why_not.clone(),
    }
}

/// An engine.
pub(super) fn engine(wiring: &EngineWiring) -> EngineStatus {
    let calls = match wiring.calls {
        WrapperCalls::All => EngineCalls::All,
        WrapperCalls::Named => EngineCalls::Named,
        WrapperCalls::Hook => EngineCalls::Hook,
        WrapperCalls::None => EngineCalls::None,
        WrapperCalls::Unknown => EngineCalls::Unknown,
    };
    let is_called = matches!(calls, EngineCalls::All | EngineCalls::Named);
    EngineStatus {
        name: wiring.title.clone(),
        calls,
        reason: wiring.concern.clone().filter(|_| !is_called),
    }
}

/// Containers by the labels of their processes. Those that do not run are not counted.
pub(super) fn containers(states: impl Iterator<Item = LabelState>) -> ContainerCounts {
    let mut counts = ContainerCounts::default();
    for state in states {
        let count = match state {
            LabelState::Confined => &mut counts.confined,
            LabelState::Violated => &mut counts.wrong,
            LabelState::NoProfile => &mut counts.unconfined,
            LabelState::Waiting | LabelState::Ended | LabelState::Unknown => continue,
        };
        *count = count.saturating_add(1);
    }
    counts
}

/// The profiles of the node and those of the cluster. What the node looks like now counts, and of
/// `sync` only what it refused, or why it could not load a profile.
pub(super) fn profiles(node: &[ProfileStatus], cluster: &[SyncedProfile]) -> Vec<NodeProfile> {
    let mut all: BTreeMap<String, NodeProfile> = BTreeMap::new();
    for status in node {
        if let Some(profile) = of_node(status) {
            all.insert(profile.name.clone(), profile);
        }
    }
    for synced in cluster {
        let state = of_cluster(synced.state);
        let profile = NodeProfile {
            name: synced.name.clone(),
            state,
            reason: synced.reason.clone(),
        };
        match all.get_mut(&synced.name) {
            Some(known) if state == ProfileState::Refused => *known = profile,
            Some(known) if known.state == state => {
                known.reason = known.reason.take().or(profile.reason);
            }
            Some(_) => {}
            // Its source went after `sync`, or it never had one.
            None if matches!(state, ProfileState::Refused | ProfileState::Disabled) => {
                all.insert(synced.name.clone(), profile);
            }
            None => {}
        }
    }
    all.into_values().collect()
}

fn of_cluster(state: SyncState) -> ProfileState {
    match state {
        SyncState::Loaded => ProfileState::Loaded,
        SyncState::Ready => ProfileState::Ready,
        SyncState::Drift => ProfileState::Drift,
        SyncState::Disabled => ProfileState::Disabled,
        SyncState::Refused => ProfileState::Refused,
    }
}

/// A profile that the kernel or a source has; nothing for a file that cannot be used, and for a name
/// that something needs and nothing has.
fn of_node(status: &ProfileStatus) -> Option<NodeProfile> {
    let name = status.name.clone()?;
    let (drift, why) = status.drift();
    let complains = status.loaded.as_ref().map(|loaded| loaded.mode);
    let complains = complains.filter(|mode| !mode.enforces());
    let (state, reason) = match (&status.loaded, &status.drift) {
        _ if status.disabled().is_some() => (ProfileState::Disabled, status.disabled()),
        (None, _) if status.source.is_none() => return None,
        (None, Drift::Unknown(why)) => (ProfileState::Ready, Some(why.clone())),
        (None, _) => (ProfileState::Ready, None),
        (Some(_), Drift::None | Drift::NotLoaded) => {
            let mode = complains.map(|mode| format!("in {mode} mode, it refuses nothing"));
            (ProfileState::Loaded, mode)
        }
        (Some(_), Drift::Unknown(why)) => {
            let why = format!("it cannot be compared with its source: {why}");
            (ProfileState::Loaded, Some(why))
        }
        (Some(_), Drift::Mode | Drift::Content | Drift::Children(_)) => {
            let drift = drift.unwrap_or_default();
            let more = why.map_or_else(String::new, |why| format!(": {why}"));
            let reason = format!("it differs from its source ({drift}){more}");
            (ProfileState::Drift, Some(reason))
        }
    };
    Some(NodeProfile {
        name,
        state,
        reason,
    })
}

/// What AppArmor denied; not what complain mode would have denied.
pub(super) fn denials(totals: &DenialTotals, lost: u64) -> DenialCounts {
    let by_profile = totals.by(|kind| &kind.profile).into_iter();
    let by_profile = by_profile.filter(|(_, sum)| sum.refused > 0);
    DenialCounts {
        total: totals.refused(),
        lost,
        by_profile: by_profile
            .map(|(profile, sum)| ProfileDenials {
                profile: profile.to_owned(),
                count: sum.refused,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, drift: Drift) -> ProfileStatus {
        ProfileStatus {
            name: Some(name.to_owned()),
            path: None,
            source: None,
            loaded: None,
            drift,
            containers: Vec::new(),
            lost: Vec::new(),
            processes: 0,
        }
    }

    fn synced(name: &str, state: SyncState, reason: Option<&str>) -> SyncedProfile {
        SyncedProfile {
            name: name.to_owned(),
            state,
            reason: reason.map(str::to_owned),
        }
    }

    #[test]
    fn what_sync_refused_counts_and_what_it_loaded_is_looked_at_again() {
        let none = profiles(&[node("wanted", Drift::None)], &[]);
        assert_eq!(none, [], "nothing has it");
        let cluster = [
            synced("bad", SyncState::Refused, Some("why")),
            synced("gone", SyncState::Loaded, None),
            synced("off", SyncState::Disabled, None),
        ];
        let shown: Vec<_> = profiles(&[], &cluster)
            .into_iter()
            .map(|p| (p.name, p.state, p.reason))
            .collect();
        let why = Some("why".to_owned());
        assert_eq!(
            shown,
            [
                ("bad".to_owned(), ProfileState::Refused, why),
                ("off".to_owned(), ProfileState::Disabled, None),
            ]
        );
    }

    #[test]
    fn containers_that_do_not_run_are_not_counted() {
        let counts = containers(LabelState::ALL.into_iter());
        assert_eq!(
            (counts.confined, counts.wrong, counts.unconfined),
            (1, 1, 1)
        );
    }
}

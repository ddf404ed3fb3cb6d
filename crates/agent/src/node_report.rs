//! What the cluster is told: what the node says, and what only the agent knows. Pure.

use std::time::{Duration, SystemTime};

use oci_apparmor_node_status::{
    ConditionVerdict, NodeProfile, NodeStatus, PROFILES_ACCEPTED, ProfileState, READY,
};

use crate::node_file::NodeFileContent;

/// After this time, what the node said is not known to be true any more. It is looked at each minute.
const OUTDATED: Duration = Duration::from_secs(600);

const REMEDY: &str = "run on the node: systemctl enable --now oci-apparmor-node-status.timer";

/// A profile of the API that the agent does not write into the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedProfile {
    /// Its name, which may be no name of a profile.
    pub name: String,
    /// The object that it is in.
    pub object: String,
    /// Why it is not written.
    pub why: String,
}

/// What only the agent knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentFacts {
    /// What it rejected.
    pub rejected: Vec<RejectedProfile>,
    /// Since when it rejects anything.
    pub rejected_since: Option<SystemTime>,
    /// When it started.
    pub started: Option<SystemTime>,
}

/// When what the node said is outdated, if it is so by now.
fn outdated(facts: &NodeFileContent, now: SystemTime) -> Option<SystemTime> {
    match facts {
        NodeFileContent::Known(_, looked) => looked.checked_add(OUTDATED).filter(|end| *end < now),
        NodeFileContent::Unknown(_) => None,
    }
}

/// The status of the object.
#[must_use]
pub fn report(node: &NodeFileContent, agent: &AgentFacts, now: SystemTime) -> NodeStatus {
    let started = agent.started.unwrap_or(now);
    let mut status = match node {
        NodeFileContent::Known(status, _) => (**status).clone(),
        NodeFileContent::Unknown(why) => {
            let mut status = NodeStatus::default();
            let message = format!("the node has not said anything: {why}; {REMEDY}");
            let unknown = ConditionVerdict::unknown("NoStatus", message);
            status.set_condition(READY, unknown.clone(), started);
            status.set_condition(PROFILES_ACCEPTED, unknown, started);
            status
        }
    };
    status.versions.agent = Some(env!("CARGO_PKG_VERSION").to_owned());
    if let Some(since) = outdated(node, now) {
        let message = format!("the node has said nothing for 10 minutes; {REMEDY}");
        let verdict = ConditionVerdict::unknown("StatusOutdated", message);
        status.set_condition(READY, verdict, since);
    }
    for rejected in &agent.rejected {
        reject(&mut status, rejected);
    }
    if !agent.rejected.is_empty() {
        let since = agent.rejected_since.unwrap_or(now);
        status.set_condition(PROFILES_ACCEPTED, status.acceptance(), since);
    }
    status.fit()
}

/// Adds a profile that is refused. If another object has a profile of this name, that keeps its state.
fn reject(status: &mut NodeStatus, rejected: &RejectedProfile) {
    let RejectedProfile { name, object, why } = rejected;
    let is_taken = |name: &str| status.profiles.iter().any(|p| p.name == *name);
    let name = match name.is_empty() || is_taken(name) {
        true => format!("{name} of {object}"),
        false => name.clone(),
    };
    status.profiles.push(NodeProfile {
        name,
        state: ProfileState::Refused,
        reason: Some(format!("{object}: {why}")),
    });
    status.profile_counts.add(ProfileState::Refused);
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use std::time::UNIX_EPOCH;

    use oci_apparmor_node_status::{ConditionStatus, NodeCondition};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        time.unwrap()
    }

    fn known() -> NodeFileContent {
        let mut status = NodeStatus::default();
        status.set_profiles(vec![NodeProfile {
            name: "web".to_owned(),
            state: ProfileState::Loaded,
            reason: None,
        }]);
        status.judge(None, at(1));
        NodeFileContent::Known(Box::new(status), at(1_000))
    }

    fn condition<'s>(status: &'s NodeStatus, kind: &str) -> &'s NodeCondition {
        status.condition(kind).unwrap()
    }

    #[test]
    fn what_the_agent_rejected_is_added() {
        let rejected = |name: &str| RejectedProfile {
            name: name.to_owned(),
            object: "ConfigMap ours/c".to_owned(),
            why: "too large".to_owned(),
        };
        let agent = AgentFacts {
            rejected: vec![rejected("big"), rejected("web"), rejected("")],
            rejected_since: Some(at(70)),
            started: Some(at(60)),
        };
        let status = report(&known(), &agent, at(1_001));
        let names: Vec<_> = status
            .profiles
            .iter()
            .map(|p| (p.name.as_str(), p.state))
            .collect();
        assert_eq!(
            names,
            [
                (" of ConfigMap ours/c", ProfileState::Refused),
                ("big", ProfileState::Refused),
                ("web of ConfigMap ours/c", ProfileState::Refused),
                ("web", ProfileState::Loaded),
            ]
        );
        assert_eq!(status.profile_counts.refused, 3);
        let accepted = condition(&status, PROFILES_ACCEPTED);
        assert_eq!(accepted.status, ConditionStatus::False);
        assert_eq!(accepted.last_transition_time, "1970-01-01T00:01:10Z");
        assert_eq!(
            status.versions.agent.as_deref(),
            Some(env!("CARGO_PKG_VERSION"))
        );
    }

    #[test]
    fn a_node_that_says_nothing_is_not_known_to_be_ready() {
        let agent = AgentFacts::default();
        let fresh = report(&known(), &agent, at(1_600));
        assert_ne!(condition(&fresh, READY).reason, "StatusOutdated");
        let old = report(&known(), &agent, at(1_601));
        let ready = condition(&old, READY);
        assert_eq!(
            (ready.status, &*ready.reason),
            (ConditionStatus::Unknown, "StatusOutdated")
        );
        assert_eq!(old.profiles.len(), 1, "what it said last stays");
        // The same at any later time, and after a restart of the agent.
        assert_eq!(report(&known(), &agent, at(9_999)), old);
        let none = NodeFileContent::Unknown("why".to_owned());
        let started = AgentFacts {
            started: Some(at(60)),
            ..AgentFacts::default()
        };
        let status = report(&none, &started, at(100));
        for kind in [READY, PROFILES_ACCEPTED] {
            let condition = condition(&status, kind);
            assert_eq!(condition.reason, "NoStatus");
            assert_eq!(condition.last_transition_time, "1970-01-01T00:01:00Z");
        }
        assert_eq!(report(&none, &started, at(200)), status);
    }
}

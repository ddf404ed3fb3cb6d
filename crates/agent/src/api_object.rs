//! The objects that the agent writes into the API. Pure.

use oci_apparmor_node_status::{NodeProfile, NodeStatus, rfc3339};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::SystemTime;

use crate::token::NodeIdentity;

/// Who owns the fields that the agent applies.
pub const MANAGER: &str = "oci-apparmor-agent";

/// The controller of events; `deploy/policies/own-node` admits no other.
const CONTROLLER: &str = "oci-apparmor.io/agent";

/// The namespace of events about objects that have none (`legacyValidateEvent` of the API server).
const EVENT_NAMESPACE: &str = "default";

/// The longest note of an event in bytes (`NoteLengthLimit`).
const MAX_NOTE: usize = 1024;

/// How much of the node's name is a part of an event's name, which has at most 253 characters.
const MAX_PREFIX: usize = 200;

/// The path at which the object of a node is applied.
#[must_use]
pub fn status_path(node: &str) -> String {
    format!("/apis/oci-apparmor.io/v1alpha1/nodeapparmors/{node}?fieldManager={MANAGER}&force=true")
}

/// The path at which events are created.
#[must_use]
pub fn events_path() -> String {
    format!("/apis/events.k8s.io/v1/namespaces/{EVENT_NAMESPACE}/events?fieldManager={MANAGER}")
}

/// The object of a node. Its Node owns it, so it is removed with the Node.
#[must_use]
pub fn node_object(node: &NodeIdentity, status: &NodeStatus) -> Value {
    json!({
        "apiVersion": "oci-apparmor.io/v1alpha1",
        "kind": "NodeAppArmor",
        "metadata": {
            "name": node.name,
            "ownerReferences": [{
                "apiVersion": "v1",
                "kind": "Node",
                "name": node.name,
                "uid": node.uid,
            }],
        },
        "status": status,
    })
}

/// The event that a profile is refused on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalEvent {
    /// Its name, which depends on the node, the profile and the reason only: an event that exists
    /// already is not created again, also after a restart of the agent.
    pub name: String,
    note: String,
}

impl RefusalEvent {
    /// That of one profile.
    #[must_use]
    pub fn of(node: &str, profile: &NodeProfile) -> Self {
        let reason = profile.reason.as_deref().unwrap_or("the reason is unknown");
        let digest = Sha256::digest(format!("{node}\0{}\0{reason}", profile.name));
        let hex: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
        let prefix: String = node.chars().take(MAX_PREFIX).collect();
        let prefix = prefix.trim_end_matches(['.', '-']);
        let mut note = format!("the profile {} is refused: {reason}", profile.name);
        while note.len() > MAX_NOTE {
            note.pop();
        }
        Self {
            name: format!("{prefix}.{hex}"),
            note,
        }
    }

    /// The object. It is about the Node, so `kubectl describe node` shows it. `uid` is that of the
    /// Node, or its name, which the kubelet uses, too.
    #[must_use]
    pub fn object(&self, node: &str, uid: &str, now: SystemTime) -> Value {
        // metav1.MicroTime
        let time = rfc3339(now).replace('Z', ".000000Z");
        let instance: String = node.chars().take(128).collect();
        json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": { "name": self.name, "namespace": EVENT_NAMESPACE },
            "eventTime": time,
            "reportingController": CONTROLLER,
            "reportingInstance": instance,
            "action": "TakeProfile",
            "reason": "ProfileRefused",
            "regarding": { "apiVersion": "v1", "kind": "Node", "name": node, "uid": uid },
            "note": self.note,
            "type": "Warning",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use oci_apparmor_node_status::ProfileState;

    use super::*;

    fn event(node: &str, profile: &str, reason: &str) -> RefusalEvent {
        let profile = NodeProfile {
            name: profile.to_owned(),
            state: ProfileState::Refused,
            reason: Some(reason.to_owned()),
        };
        RefusalEvent::of(node, &profile)
    }

    #[test]
    fn one_refusal_has_one_name() {
        let first = event("n1", "web", "why");
        assert_eq!(first.name, event("n1", "web", "why").name);
        for other in [
            event("n2", "web", "why"),
            event("n1", "we", "bwhy"),
            event("n1", "web", ""),
        ] {
            assert_ne!(first.name, other.name);
        }
        assert!(first.name.starts_with("n1."));
        let long = event(&format!("{}.x", "n".repeat(199)), "web", &"ä".repeat(600));
        assert!(
            long.name.len() < 253 && !long.name.contains(".."),
            "{}",
            long.name
        );
        let object = long.object("n", "u", UNIX_EPOCH);
        assert!(object["note"].as_str().unwrap().len() <= MAX_NOTE);
        assert_eq!(object["eventTime"], "1970-01-01T00:00:00.000000Z");
    }
}

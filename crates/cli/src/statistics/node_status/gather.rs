//! Looks at the node.

use std::time::SystemTime;

use oci_apparmor_node_status::{NodeProfile, NodeStatus, ProgramVersions};

use super::{facts, recent_denials};
use crate::checks::{engines, kubelet};
use crate::cluster::SyncStatus;
use crate::report::progress::Progress;
use crate::statistics::containers::ManagedContainer;
use crate::statistics::node_facts::NodeFacts;
use crate::statistics::node_report;
use oci_apparmor::error::Result;
use oci_apparmor::node::Node;
use oci_apparmor::settings::Settings;

/// Everything but the conditions. What cannot be read is left out, and logged: the rest is then as
/// important.
pub(crate) fn gather() -> NodeStatus {
    let progress = Progress::new();
    // That the configuration cannot be used is a matter of `check`; containers are refused then.
    let node = Node::with(Settings::load().unwrap_or_default());
    let node_facts = NodeFacts::of(&node);
    let mut wired = engines::look().engines;
    kubelet::sort(&mut wired, kubelet::endpoint().as_deref());
    progress.show("reading the labels of containers");
    let containers = logged(ManagedContainer::all(&node));
    let found = logged(profiles(&node, SyncStatus::last().as_ref(), &progress));
    progress.show("reading the log");
    let known = found.as_deref().unwrap_or_default();
    let is_known = |name: &str| known.iter().any(|profile| profile.name == name);
    let denials = recent_denials::read(SystemTime::now(), is_known);
    let mut status = NodeStatus {
        kernel: Some(facts::kernel(&node_facts)),
        versions: ProgramVersions {
            agent: None,
            wrapper: Some(node_facts.version.to_owned()),
        },
        engines: wired.iter().map(facts::engine).collect(),
        containers: containers
            .map(|all| facts::containers(all.iter().map(ManagedContainer::label_state))),
        denials,
        ..NodeStatus::default()
    };
    status.set_profiles(found.unwrap_or_default());
    status
}

/// The profiles of the node, and of what `sync` found, if the node takes profiles from a cluster.
///
/// # Errors
/// If the kernel's profiles cannot be read.
pub(crate) fn profiles(
    node: &Node,
    sync: Option<&SyncStatus>,
    progress: &Progress,
) -> Result<Vec<NodeProfile>> {
    progress.show("comparing profiles");
    let found = node_report::profiles(node, progress)?;
    let synced = sync.filter(|_| node.settings.cluster.is_some());
    let synced = synced.map(|sync| sync.profiles.as_slice());
    Ok(facts::profiles(&found, synced.unwrap_or_default()))
}

fn logged<T>(result: Result<T>) -> Option<T> {
    result.map_err(|e| log::warn!("{e}")).ok()
}

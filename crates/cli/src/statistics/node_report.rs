//! Everything that is known of a node, gathered once.

use std::time::SystemTime;

use crate::checks::all;
use crate::checks::engines::EngineChecks;
use crate::checks::finding::Finding;
use crate::checks::wiring::EngineWiring;
use crate::log::boot;
use crate::report::progress::Progress;
use crate::report::users::Users;
use crate::statistics::containers::ManagedContainer;
use crate::statistics::log_summary::LogSummary;
use crate::statistics::node_facts::NodeFacts;
use crate::statistics::profiles::{ProfileSearch, ProfileStatus};
use oci_apparmor::counters::{self, Counter};
use oci_apparmor::error::Result;
use oci_apparmor::node::Node;
use oci_apparmor::profiles::Store;
use oci_apparmor::settings::Settings;

/// What is known of a node at one moment.
#[derive(Debug)]
pub(crate) struct NodeReport {
    pub(crate) time: SystemTime,
    pub(crate) facts: NodeFacts,
    /// What `check` finds.
    pub(crate) findings: Vec<Finding>,
    pub(crate) engines: Vec<EngineWiring>,
    pub(crate) containers: Vec<ManagedContainer>,
    pub(crate) profiles: Vec<ProfileStatus>,
    /// What AppArmor refused since boot.
    pub(crate) log: LogSummary,
    /// What was counted since boot, in the order of [`Counter::ALL`].
    pub(crate) counters: Vec<(Counter, u64)>,
}

impl NodeReport {
    /// Gathers all of it.
    ///
    /// # Errors
    /// If records, processes or the kernel's profiles cannot be read.
    pub(crate) fn gather() -> Result<Self> {
        let progress = Progress::new();
        // That the configuration cannot be used is a finding.
        let node = Node::with(Settings::load().unwrap_or_default());
        let EngineChecks { findings, engines } = all::run(None, &progress);
        progress.show("reading the labels of containers");
        let containers = ManagedContainer::all(&node)?;
        progress.show("comparing profiles");
        let profiles = profiles(&node, &progress)?;
        progress.show("reading the log");
        Ok(Self {
            time: SystemTime::now(),
            facts: NodeFacts::of(&node),
            findings,
            engines,
            containers,
            profiles,
            log: LogSummary::read(boot()),
            counters: counted(),
        })
    }

    /// How often something was counted since boot.
    pub(crate) fn count(&self, event: Counter) -> u64 {
        let mut counters = self.counters.iter();
        counters.find(|(of, _)| *of == event).map_or(0, |(_, n)| *n)
    }

    /// How many calls were refused since boot.
    pub(crate) fn refusals(&self) -> u64 {
        let refusals = self.counters.iter();
        let refusals = refusals.filter(|(event, _)| matches!(event, Counter::Refusal(_)));
        refusals.fold(0, |sum: u64, (_, n)| sum.saturating_add(*n))
    }
}

/// The profiles of a node, with what uses them.
///
/// # Errors
/// If the kernel's profiles cannot be read.
pub(crate) fn profiles(node: &Node, progress: &Progress) -> Result<Vec<ProfileStatus>> {
    let store = Store::new(node);
    let users = Users::look(store.kernel());
    let search = ProfileSearch {
        store: &store,
        settings: &node.settings,
        users: &users,
    };
    search.everything(false, progress)
}

/// All counters.
pub(crate) fn counted() -> Vec<(Counter, u64)> {
    let all = Counter::ALL.into_iter();
    all.map(|event| (event, counters::total(event))).collect()
}

//! The pipeline from a bundle to a container that may start: read its configuration, read what it
//! requests, decide, and bring the profiles into the kernel.
//!
//! `create`, `run`, `restore` and the hook take all of it. `explain` stops at the decision, `exec`
//! without a record at the request. A sandbox loads the profiles of its pod.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::apparmor::kernel::{Enforcement, Off};
use crate::apparmor::name::{Label, ProfileName};
use crate::bundle::document::Document;
use crate::bundle::files::BundleFile;
use crate::decision::{self, Asking, Decision, Facts};
use crate::error::{Kind, Result};
use crate::node::Node;
use crate::profiles::{Check, Ensured, Store};
use crate::report;
use crate::request::{self, Caller, Key, Request};
use crate::wanted::{Component, ProfileFacts, Wanted};

/// How many profiles a sandbox may have loaded for its containers, and in which time.
const PRELOAD_MAX: usize = 16;
const PRELOAD_LIMIT: Duration = Duration::from_secs(5);

/// Reads the configuration of a bundle.
///
/// # Errors
/// Where runtimes could read it differently; see [`Document::config`].
pub fn document(file: &BundleFile) -> Result<Document<'_>> {
    Document::config(file.bytes())
        .map_err(|e| e.about(&format!("{} is refused", file.path().display())))
}

/// A container that is to be started.
#[derive(Debug)]
pub struct Admission<'n> {
    node: &'n Node,
    store: Store<'n>,
    /// What it requests.
    pub request: Request,
}

impl<'n> Admission<'n> {
    /// Reads what the container of this configuration requests.
    ///
    /// # Errors
    /// Those of [`request::read`].
    pub fn of(node: &'n Node, document: &Document<'_>, caller: Caller<'_>) -> Result<Self> {
        let request = request::read(document.annotations(), document.profile(), caller)?;
        Ok(Self::with(node, request))
    }

    /// A container whose request was read already.
    #[must_use]
    pub fn with(node: &'n Node, request: Request) -> Self {
        Self {
            node,
            store: Store::new(node),
            request,
        }
    }

    /// Decides, with the facts of this node.
    ///
    /// # Errors
    /// Those of [`decision::decide`], and of looking at the kernel.
    pub fn decide(&self) -> Result<Decision> {
        let decided = decision::decide(&self.request, &self.node.settings, &self.facts()?);
        decided.map_err(|e| match (e.kind(), self.store.broken_manifest()) {
            // The profile may be in the manifest that cannot be read.
            (Kind::NotFound, Some(broken)) => e.with_remedy(broken),
            _ => e,
        })
    }

    /// Gathers what is known about the profiles that the decision may depend on.
    fn facts(&self) -> Result<Facts> {
        let mut profiles = BTreeMap::new();
        for name in decision::candidates(&self.request, &self.node.settings) {
            let facts = self.store.facts_of(&name)?;
            profiles.insert(name, facts);
        }
        // Most containers of some nodes request no profile, and then the kernel does not matter. If a
        // decision depended on it all the same, it would be a refusal.
        let enforcement = match profiles.is_empty() {
            true => Enforcement::Off(Off::Unreadable("no profile is requested".to_owned())),
            false => self.node.kernel.enforcement(),
        };
        Ok(Facts {
            enforcement,
            profiles,
        })
    }

    /// Brings every profile of the decision into the kernel. `unload` waits until what is returned
    /// is dropped.
    ///
    /// # Errors
    /// Those of [`Store::ensure`]; the container must not start then.
    pub fn ensure(&self, decision: &Decision) -> Result<Vec<Ensured>> {
        decision
            .components
            .iter()
            .map(|component| self.store.ensure(component, Check::Content))
            .collect()
    }

    /// Loads the profiles that the annotations of a sandbox name. containerd refuses a container
    /// whose profile is not loaded before it calls a runtime, and the sandbox is created before its
    /// containers. A failure is only reported: the container itself will be refused.
    pub fn preload(&self) {
        let started = Instant::now();
        for (key, name) in request::named_by_sandbox(&self.request, PRELOAD_MAX) {
            let left = PRELOAD_LIMIT.saturating_sub(started.elapsed());
            if left.is_zero() {
                report::notice(
                    "loading the profiles of a pod took too long; its containers load the rest",
                );
                return;
            }
            let store = Store::new(self.node).with_limit(left);
            let component = Component {
                wanted: Wanted::Enforcing,
                name,
            };
            // What the engine will choose for the containers is not known yet.
            let done = store
                .facts_of(&component.name)
                .and_then(|facts| self.may_ask(&component.name, key, None, &facts))
                .and_then(|()| store.ensure(&component, Check::Content));
            if let Err(e) = done {
                report::notice(&format!("loading {} for a pod: {e}", component.name));
            }
        }
    }

    /// Whether an annotation may name all of this label on this node.
    ///
    /// # Errors
    /// Where the kernel cannot be looked at.
    pub fn may_name(&self, key: &Key, label: &Label) -> Result<bool> {
        let engine = self.request.engine_label.as_ref();
        for name in label.components() {
            let facts = self.store.facts_of(name)?;
            if self.may_ask(name, key.as_str(), engine, &facts).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether an annotation with this key may name a profile; `engine` is what the engine itself
    /// chose for the container, where it is told.
    fn may_ask(
        &self,
        name: &ProfileName,
        key: &str,
        engine: Option<&Label>,
        facts: &ProfileFacts,
    ) -> Result<()> {
        let rules = self
            .node
            .settings
            .in_namespace(self.request.namespace.as_deref());
        let asking = Asking { name, key, engine };
        decision::may_ask(asking, &rules, facts).map(drop)
    }
}

/// Notices for the administrator: those of the decision, and profiles that had to be replaced.
pub fn notices<'a>(
    decision: &'a Decision,
    ensured: &'a [Ensured],
) -> impl Iterator<Item = String> + 'a {
    let reloads = ensured.iter().filter_map(Ensured::reload);
    decision.reports.iter().cloned().chain(reloads)
}

//! The one way to a container: its bundle, what it requests, what the node decides, and the
//! profiles that must be in the kernel.
//!
//! `create`, `run` and `restore`, the hook, `explain`, the sandbox that loads the profiles of its
//! pod, and `exec` without a record all take it; they differ in how far they go.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::apparmor::name::{Label, ProfileName};
use crate::bundle::document::Document;
use crate::bundle::files::SpecFile;
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

/// The configuration in a file of a bundle.
///
/// # Errors
/// Where it cannot be read with certainty.
pub fn document(file: &SpecFile) -> Result<Document<'_>> {
    Document::config(file.bytes())
        .map_err(|e| e.about(&format!("{} is refused", file.path().display())))
}

/// One container on its way.
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

    /// The same for a request that was read already.
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

    /// What is known about the profiles that the decision may come to.
    fn facts(&self) -> Result<Facts> {
        let mut profiles = BTreeMap::new();
        for name in decision::candidates(&self.request, &self.node.settings) {
            let facts = self.store.facts_of(&name)?;
            profiles.insert(name, facts);
        }
        Ok(Facts {
            enforcement: self.node.kernel.enforcement(),
            profiles,
        })
    }

    /// Brings every profile of the decision into the kernel; none of them is unloaded as long as
    /// what is returned lives.
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

    /// Loads what a sandbox's annotations name: containerd refuses a container whose profile is not
    /// loaded before it calls any runtime, and the sandbox comes first. Failures are only reported;
    /// the container itself will be refused.
    pub fn preload(&self) {
        let started = Instant::now();
        for name in request::named_by_sandbox(&self.request, PRELOAD_MAX) {
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
                .and_then(|facts| self.may_ask(&component.name, "of the pod", None, &facts))
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

/// What an administrator should hear of although nothing is refused: what the decision notes, and
/// profiles that were loaded, but had to be replaced.
pub fn notices<'a>(
    decision: &'a Decision,
    ensured: &'a [Ensured],
) -> impl Iterator<Item = String> + 'a {
    let reloads = ensured.iter().filter_map(Ensured::reload);
    decision.reports.iter().cloned().chain(reloads)
}

//! A suggestion from events: the changed source, its proof, and what people and programs are told.

use std::time::SystemTime;

use crate::learning::draft::Draft;
use crate::learning::events::ProfileEvents;
use crate::learning::proof::{self, Proof};
use crate::learning::source_text::{NewText, SourceText};
use crate::log::{Coverage, Gaps, boot};
use crate::policy::trial::Trial;
use oci_apparmor::apparmor::kernel;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::{Error, Result};
use oci_apparmor::node::Node;
use oci_apparmor::profiles::{Source, Store};
use oci_apparmor_audit::suggestion::SuggestionOptions;

/// What was read for a suggestion.
#[derive(Debug)]
pub(crate) struct Evidence<'t> {
    /// The events.
    pub events: ProfileEvents<'t>,
    /// What was missing.
    pub gaps: Gaps,
    /// What was read.
    pub coverage: Coverage,
    /// Since when events were wanted; `None`: since boot.
    pub since: Option<SystemTime>,
}

impl Evidence<'_> {
    /// Whether every event of the time was seen.
    pub(crate) fn is_complete(&self) -> bool {
        self.gaps.is_none() && self.coverage.is_complete_since(self.since, boot())
    }
}

/// A changed source, with the reasons.
#[derive(Debug)]
pub(crate) struct SourceChange {
    /// The source as it was read.
    pub old: SourceText,
    /// What is added.
    pub draft: Draft,
    /// The changed source.
    pub new: NewText,
    /// The proof, or why there is none.
    pub proof: std::result::Result<Proof, String>,
}

impl SourceChange {
    /// Makes it. What does not compile, or may not be loaded, is refused here.
    ///
    /// # Errors
    /// If the source cannot be changed, or if the changed source cannot be used.
    pub(crate) fn of(
        node: &Node,
        (name, source): (&ProfileName, &Source),
        old: SourceText,
        evidence: &Evidence<'_>,
        options: &SuggestionOptions,
        before: Option<&Trial<'_>>,
    ) -> Result<Self> {
        let draft = Draft {
            profiles: evidence.events.suggestions(options),
        };
        let today = humantime::format_rfc3339_seconds(SystemTime::now());
        let read = evidence.coverage.sources.join(", ");
        let marker = format!("Learnt on {today} by oci-apparmor, from: {read}");
        let new = old.with(&draft, name, &marker)?;
        let store = Store::new(node);
        if new.file != old.file {
            store
                .check_text(name, source, new.policy.as_bytes())
                .map_err(|e| e.about("the suggestion cannot be used"))?;
        }
        let proof = match cannot_ask(&store) {
            Some(why) => Err(why.without_remedy()),
            None => proof::of(
                node,
                new.policy.as_bytes(),
                name,
                &evidence.events,
                &draft,
                before,
            )
            .map_err(|e| e.without_remedy()),
        };
        Ok(Self {
            old,
            draft,
            new,
            proof,
        })
    }

    /// Whether the source changes.
    pub(crate) fn is_change(&self) -> bool {
        self.new.file != self.old.file
    }
}

/// Why no profile can be loaded to be asked, if so.
pub(crate) fn cannot_ask(store: &Store<'_>) -> Option<Error> {
    store.unavailable().or_else(|| {
        kernel::may_load()
            .err()
            .map(|why| Error::new(oci_apparmor::error::Kind::Policy, why.to_string()))
    })
}

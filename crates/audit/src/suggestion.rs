//! From events to the rules that a profile lacks.
//!
//! ```
//! use oci_apparmor_audit::event::Event;
//! use oci_apparmor_audit::suggestion::{Suggestion, SuggestionOptions};
//!
//! let event = |pid: u32| {
//!     let line = format!(
//!         "audit: type=1400 audit(1795342738.894:7): apparmor=\"DENIED\" operation=\"open\" \
//!          profile=\"web\" name=\"/proc/{pid}/status\" pid={pid} comm=\"nginx\" denied_mask=\"r\" \
//!          fsuid=101 ouid=101"
//!     );
//!     Event::parse(line.as_bytes()).expect("one event")
//! };
//! let suggestion = Suggestion::of(&[event(103), event(2071)], &SuggestionOptions::default());
//! let [rule] = &suggestion.rules[..] else { panic!() };
//! assert_eq!(rule.rule.to_string(), "owner /proc/[0-9]*/status r,");
//! assert_eq!((rule.count, rule.distinct), (2, 2));
//! ```
//!
//! There are no abstractions in a suggestion. Each of them allows far more than a log can show, and what
//! it allows depends on the host that compiles the profile.

mod collector;
mod danger;
mod generalise;
mod known;
mod numbers;
mod paths;

use std::collections::BTreeMap;

pub use collector::Collector;
pub use danger::Danger;

use crate::event::Event;
use crate::rule::kinds::ExecTransition;
use crate::rule::{PolicyRule, ProfileFlag, Reason};
use crate::text::OutsideText;

/// When several names become one pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Generalise {
    /// Never.
    None,
    /// For a part of a name that is made anew each time: process ids below /proc, UUIDs, hashes and
    /// container ids, long numbers, random names in directories for temporary files. And for three
    /// names that differ only in numbers.
    #[default]
    Some,
    /// Also for two names that differ only in numbers, and for three names in one directory with the
    /// same extension.
    More,
}

/// What a suggestion shall be like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SuggestionOptions {
    /// When several names become one pattern.
    pub generalise: Generalise,
}

/// The rules that a profile lacks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Suggestion {
    /// The rules, sorted by kind and name.
    pub rules: Vec<SuggestedRule>,
    /// The flags that the profile needs, each with the number of events that say so.
    pub flags: BTreeMap<ProfileFlag, u64>,
    /// How many events made no rule, for each reason.
    pub not_learnt: BTreeMap<Reason, u64>,
    /// How many events are of accesses that were too many to keep.
    pub left_out: u64,
}

/// A rule, with the reasons for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuggestedRule {
    /// The rule.
    pub rule: PolicyRule,
    /// How many events it allows.
    pub count: u64,
    /// Some of the names that became the pattern of this rule, or of the rules; none if it has no
    /// pattern.
    pub witnesses: Vec<OutsideText>,
    /// How many there are; 0 if the rule has no pattern.
    pub distinct: u64,
    /// Why the rule should not be in force before it is understood.
    pub danger: Option<Danger>,
    /// Other rules that allow it, of which one can be chosen instead.
    pub alternatives: Vec<PolicyRule>,
}

/// How many witnesses of a pattern are kept.
const MOST_WITNESSES: usize = 5;

impl Suggestion {
    /// What these events teach. They are taken as events of one profile.
    #[must_use]
    pub fn of<'e>(
        events: impl IntoIterator<Item = &'e Event>,
        options: &SuggestionOptions,
    ) -> Self {
        let mut collector = Collector::default();
        let mut first = None;
        for event in events {
            let profile = first.get_or_insert_with(|| Collector::profile_of(event));
            collector.add_to(profile.clone(), event);
        }
        first.map_or_else(Self::default, |profile| {
            collector.suggestion(&profile, options)
        })
    }
}

impl SuggestedRule {
    fn new(rule: PolicyRule, count: u64, profile: &[u8]) -> Self {
        let alternatives = match &rule {
            PolicyRule::File(file) if file.exec == Some(ExecTransition::Inherit) => [
                ExecTransition::Profile,
                ExecTransition::Child,
                ExecTransition::Unconfined,
            ]
            .map(|exec| {
                let mut other = file.clone();
                other.exec = Some(exec);
                PolicyRule::File(other)
            })
            .into(),
            _ => Vec::new(),
        };
        Self {
            danger: danger::of(&rule, profile),
            rule,
            count,
            witnesses: Vec::new(),
            distinct: 0,
            alternatives,
        }
    }

    fn witness(&mut self, name: &OutsideText) {
        self.distinct = self.distinct.saturating_add(1);
        if self.witnesses.len() < MOST_WITNESSES {
            self.witnesses.push(name.clone());
        }
    }
}

/// Lines of a profile, without indentation: the rule; if it is dangerous, as a comment, below another
/// one with the reason.
impl std::fmt::Display for SuggestedRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(danger) = self.danger else {
            return write!(f, "{}", self.rule);
        };
        writeln!(f, "# not granted: {danger}")?;
        write!(f, "# {}", self.rule)
    }
}

#[cfg(test)]
mod tests;

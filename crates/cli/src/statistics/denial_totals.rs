//! Denials by profile, operation and verdict, in bounded memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::tally::parent;
use oci_apparmor_audit::text::OutsideText;
use oci_apparmor_audit::verdict::Verdict;

/// How many kinds are counted: each becomes a time series.
const MOST: usize = 1000;

/// How many of these may be of profiles that this node does not know: a program in a policy
/// namespace of its own, or one with CAP_AUDIT_WRITE, can make up any number of names.
const MOST_UNKNOWN: usize = 300;

/// The profile and the operation of all others.
pub(crate) const OTHER: &str = "other";

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct DenialKind {
    /// The profile whose rule decided. Children count as their parent: in complain mode, a process
    /// creates them by executing programs.
    pub(crate) profile: String,
    pub(crate) operation: String,
    /// `denied`, `allowed` (complain mode) or `killed`.
    pub(crate) verdict: String,
}

/// How often each kind occurred.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DenialTotals(BTreeMap<DenialKind, u64>);

impl DenialTotals {
    /// Totals that were counted before.
    pub(crate) fn with(counts: impl IntoIterator<Item = (DenialKind, u64)>) -> Self {
        Self(counts.into_iter().take(MOST.saturating_mul(2)).collect())
    }

    /// Counts an event, if it is about an access that a profile does not allow. `is_known`: whether
    /// this node has a profile of that name for containers.
    pub(crate) fn add(&mut self, event: &Event, is_known: impl Fn(&str) -> bool) {
        let verdict = event.verdict;
        if !matches!(
            verdict,
            Verdict::Denied | Verdict::Allowed | Verdict::Killed
        ) {
            return;
        }
        let profile = event.profile().map(|name| parent(name.bytes()));
        let profile = profile.unwrap_or_default().to_string();
        let operation = match (&event.fields.operation, event.from_program) {
            // A program can write any operation.
            (_, true) => "dbus".to_owned(),
            (operation, false) => operation
                .as_ref()
                .map_or_else(String::new, OutsideText::to_string),
        };
        let most = match is_known(&profile) {
            true => MOST,
            false => MOST_UNKNOWN,
        };
        let kind = DenialKind {
            profile,
            operation,
            verdict: verdict.as_str().to_owned(),
        };
        let kind = match self.0.contains_key(&kind) || self.0.len() < most {
            true => kind,
            false => DenialKind {
                profile: OTHER.to_owned(),
                operation: OTHER.to_owned(),
                ..kind
            },
        };
        let count = self.0.entry(kind).or_default();
        *count = count.saturating_add(1);
    }

    /// Each kind with its count.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&DenialKind, u64)> {
        self.0.iter().map(|(kind, count)| (kind, *count))
    }

    /// All that were denied, or killed for: not what complain mode allowed.
    pub(crate) fn refused(&self) -> u64 {
        let refused = self.iter().filter(|(kind, _)| kind.is_refusal());
        refused.fold(0, |sum: u64, (_, count)| sum.saturating_add(count))
    }

    /// The counts by something that kinds have in common, the largest first.
    pub(crate) fn by<'t>(
        &'t self,
        key: impl Fn(&'t DenialKind) -> &'t str,
    ) -> Vec<(&'t str, DenialSum)> {
        let mut sums: BTreeMap<&str, DenialSum> = BTreeMap::new();
        for (kind, count) in self.iter() {
            let sum = sums.entry(key(kind)).or_default();
            let part = match kind.is_refusal() {
                true => &mut sum.refused,
                false => &mut sum.allowed,
            };
            *part = part.saturating_add(count);
        }
        let mut sums = Vec::from_iter(sums);
        sums.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.all()));
        sums
    }
}

impl DenialKind {
    /// Whether AppArmor refused the access.
    pub(crate) fn is_refusal(&self) -> bool {
        self.verdict != Verdict::Allowed.as_str()
    }
}

/// Counts of several kinds together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DenialSum {
    /// Refused.
    pub(crate) refused: u64,
    /// Allowed, because the profile is in complain mode.
    pub(crate) allowed: u64,
}

impl DenialSum {
    pub(crate) fn all(self) -> u64 {
        self.refused.saturating_add(self.allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(profile: &str, operation: &str, verdict: &str) -> Event {
        let line = format!(
            "audit: type=1400 audit(1795342738.894:7): apparmor=\"{verdict}\" \
             operation=\"{operation}\" profile=\"{profile}\" name=\"/x\" pid=103 comm=\"cat\" \
             requested_mask=\"r\" denied_mask=\"r\" fsuid=0 ouid=0"
        );
        Event::parse(line.as_bytes()).unwrap()
    }

    #[test]
    fn children_count_as_their_parent_and_audited_accesses_do_not_count() {
        let mut totals = DenialTotals::default();
        for (profile, verdict) in [
            ("web", "DENIED"),
            ("web//helper", "DENIED"),
            ("web//null-/bin/sh", "ALLOWED"),
            ("web", "AUDIT"),
        ] {
            totals.add(&event(profile, "open", verdict), |_| true);
        }
        let counts: Vec<_> = totals
            .iter()
            .map(|(k, n)| (&*k.profile, &*k.verdict, n))
            .collect();
        assert_eq!(counts, [("web", "allowed", 1), ("web", "denied", 2)]);
        assert_eq!(totals.refused(), 2);
        let by = totals.by(|kind| &kind.operation);
        assert_eq!(
            by,
            [(
                "open",
                DenialSum {
                    refused: 2,
                    allowed: 1
                }
            )]
        );
    }

    /// The number of series is bounded, and made-up profiles do not displace those of this node.
    #[test]
    fn made_up_names_are_counted_as_other() {
        let mut totals = DenialTotals::default();
        for number in 0..2000 {
            let name = format!("made-up-{number}");
            totals.add(&event(&name, "open", "DENIED"), |name| name == "web");
        }
        assert_eq!(totals.iter().count(), MOST_UNKNOWN + 1);
        totals.add(&event("web", "open", "DENIED"), |name| name == "web");
        let find = |totals: &DenialTotals, profile: &str| {
            totals
                .iter()
                .find(|(k, _)| k.profile == profile)
                .map(|(_, n)| n)
        };
        assert_eq!(find(&totals, "web"), Some(1));
        assert_eq!(find(&totals, OTHER), Some(2000 - MOST_UNKNOWN as u64));
        for number in 0..2000 {
            totals.add(&event("web", &format!("o{number}"), "DENIED"), |_| true);
        }
        assert_eq!(totals.iter().count(), MOST);
        let all = totals.iter().map(|(_, n)| n).sum::<u64>();
        assert_eq!(all, 4001);
    }
}

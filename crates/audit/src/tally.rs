//! Counts events that are about the same access.

use std::collections::BTreeMap;

use crate::event::Event;
use crate::verdict::Verdict;

/// How many different keys are kept. A container that tries every path must not fill the memory.
const MAX: usize = 10_000;

/// What events have in common that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventKey {
    /// The profile whose rule decided.
    pub profile: String,
    /// What AppArmor did.
    pub verdict: Verdict,
    /// The operation.
    pub operation: String,
    /// The object of the operation.
    pub object: String,
    /// The permissions that the profile does not grant.
    pub denied: String,
}

/// How often such an event occurred.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Occurrences {
    /// The number of events.
    pub count: u64,
    /// The timestamp of the last one, as [`Event::timestamp`].
    pub timestamp: Option<String>,
    /// The name of the command that caused the last one.
    pub comm: Option<String>,
}

/// A count of events. It keeps at most 10 000 different keys.
#[derive(Debug, Default)]
pub struct Tally {
    counts: BTreeMap<EventKey, Occurrences>,
    /// The number of events that were not counted because there were too many keys.
    pub left_out: u64,
}

impl Tally {
    /// Counts the event in a line, if it has one about an access.
    pub fn add(&mut self, line: &str) {
        let Some(event) = Event::parse(line).filter(|e| e.verdict != Verdict::Other) else {
            return;
        };
        let key = EventKey {
            profile: event.profile().unwrap_or_default().to_owned(),
            verdict: event.verdict,
            operation: event.operation().to_owned(),
            object: event.object(),
            denied: event.denied().to_owned(),
        };
        if self.counts.len() >= MAX && !self.counts.contains_key(&key) {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        let occurrences = self.counts.entry(key).or_default();
        occurrences.count = occurrences.count.saturating_add(1);
        occurrences.comm = event.field("comm").map(str::to_owned);
        occurrences.timestamp = event.timestamp;
    }

    /// All keys with their counts, sorted by profile.
    pub fn iter(&self) -> impl Iterator<Item = (&EventKey, &Occurrences)> {
        self.counts.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_events_are_counted_and_too_many_left_out() {
        let mut tally = Tally::default();
        let line = |serial: u32, name: u32| {
            format!(
                "audit: type=1400 audit(1.2:{serial}): apparmor=\"DENIED\" operation=\"open\" \
                 profile=\"p\" name=\"/{name}\" pid={serial} comm=\"c{serial}\" denied_mask=\"r\""
            )
        };
        for serial in 0..3 {
            tally.add(&line(serial, 0));
        }
        tally.add("audit(1.2:3): apparmor=\"STATUS\" operation=\"profile_load\" profile=\"unconfined\" name=\"p\"");
        tally.add("something else");
        let all: Vec<_> = tally.iter().collect();
        let [(key, occurrences)] = all[..] else {
            panic!("{all:?}")
        };
        assert_eq!((&*key.object, &*key.denied), ("/0", "r"));
        assert_eq!(
            (
                occurrences.count,
                occurrences.timestamp.as_deref(),
                occurrences.comm.as_deref()
            ),
            (3, Some("1.2:2"), Some("c2"))
        );

        for name in 0..u32::try_from(MAX).unwrap() + 5 {
            tally.add(&line(0, name));
        }
        assert_eq!((tally.iter().count(), tally.left_out), (MAX, 5));
    }
}

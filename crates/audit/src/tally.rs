//! Events that say the same, counted.

use std::collections::BTreeMap;

use crate::event::{Event, Verdict};

/// How many different ones are kept; a container that tries all paths must not fill the memory.
const MAX: usize = 10_000;

/// What events that are counted as one have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct What {
    /// The profile whose rule decided.
    pub profile: String,
    /// What was made of it.
    pub verdict: Verdict,
    /// What was tried.
    pub operation: String,
    /// What it was tried on.
    pub object: String,
    /// The permissions that are missing.
    pub denied: String,
}

/// How often, and by whom at last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// How many events.
    pub count: u64,
    /// The stamp of the last one.
    pub stamp: Option<String>,
    /// The name of the last one's command.
    pub comm: Option<String>,
}

/// Counts events; see [`MAX`].
#[derive(Debug, Default)]
pub struct Tally {
    seen: BTreeMap<What, Seen>,
    /// Events that would have been one too many.
    pub left_out: u64,
}

impl Tally {
    /// Counts the event of a line, if it has one that tells of a rule.
    pub fn add(&mut self, line: &str) {
        let Some(event) = Event::parse(line).filter(|e| e.verdict != Verdict::Other) else {
            return;
        };
        let what = What {
            profile: event.profile().unwrap_or_default().to_owned(),
            verdict: event.verdict,
            operation: event.operation().to_owned(),
            object: event.object(),
            denied: event.denied().to_owned(),
        };
        if self.seen.len() >= MAX && !self.seen.contains_key(&what) {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        let seen = self.seen.entry(what).or_default();
        seen.count = seen.count.saturating_add(1);
        seen.comm = event.field("comm").map(str::to_owned);
        seen.stamp = event.stamp;
    }

    /// All, by profile.
    pub fn iter(&self) -> impl Iterator<Item = (&What, &Seen)> {
        self.seen.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_counted_and_too_much_left_out() {
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
        let [(what, seen)] = all[..] else {
            panic!("{all:?}")
        };
        assert_eq!((&*what.object, &*what.denied), ("/0", "r"));
        assert_eq!(
            (seen.count, seen.stamp.as_deref(), seen.comm.as_deref()),
            (3, Some("1.2:2"), Some("c2"))
        );

        for name in 0..u32::try_from(MAX).unwrap() + 5 {
            tally.add(&line(0, name));
        }
        assert_eq!((tally.iter().count(), tally.left_out), (MAX, 5));
    }
}

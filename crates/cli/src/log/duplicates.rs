//! Events that two sources have: the history in a log and the kernel's multicast, or the kernel's log
//! and the audit socket of journald.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::header::Stamp;

use super::reading::time_of;

/// How long before the listener was opened an event can have happened that it hears: the kernel queues
/// records.
const QUEUED: Duration = Duration::from_secs(10);

/// How many stamps are kept.
const MOST: usize = 100_000;

/// The events of the history that the listener may hear as well. Records of one system call share a
/// stamp, so they are counted.
#[derive(Debug)]
pub(super) struct Duplicates {
    since: Option<SystemTime>,
    known: BTreeMap<Stamp, u32>,
}

impl Duplicates {
    /// `listening`: when the listener was opened.
    pub(super) fn new(listening: SystemTime) -> Self {
        Self {
            since: listening.checked_sub(QUEUED),
            known: BTreeMap::new(),
        }
    }

    /// Notes an event of the history; whether it is to be reported. If there are too many, the listener
    /// reports it.
    pub(super) fn note(&mut self, event: &Event) -> bool {
        let Some(stamp) = event.stamp else {
            return true;
        };
        if time_of(&stamp) < self.since {
            return true;
        }
        if self.known.len() >= MOST && !self.known.contains_key(&stamp) {
            return false;
        }
        let count = self.known.entry(stamp).or_default();
        *count = count.saturating_add(1);
        true
    }

    /// Whether an event that the listener heard was in the history.
    pub(super) fn was_reported(&mut self, event: &Event) -> bool {
        let Some(stamp) = &event.stamp else {
            return false;
        };
        let Some(count) = self.known.get_mut(stamp) else {
            return false;
        };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.known.remove(stamp);
        }
        true
    }
}

/// How many of the last stamps of the journal are kept; both transports are almost in step.
const LAST: usize = 10_000;

/// The records that journald has from the kernel's log and from the audit socket.
#[derive(Debug, Default)]
pub(super) struct Transports {
    /// How often a stamp came from the kernel's log, and from the audit socket.
    counts: BTreeMap<Stamp, (u32, u32)>,
}

impl Transports {
    /// Notes an event; whether the other transport has not brought it already.
    pub(super) fn is_new(&mut self, event: &Event, of_audit: bool) -> bool {
        let Some(stamp) = event.stamp else {
            return true;
        };
        let (kernel, audit) = self.counts.entry(stamp).or_default();
        let (own, other) = match of_audit {
            true => (audit, kernel),
            false => (kernel, audit),
        };
        *own = own.saturating_add(1);
        let is_new = *own > *other;
        if self.counts.len() > LAST {
            self.counts.pop_first();
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn event(second: u64, serial: u64) -> Event {
        let line = format!(
            "audit({second}.000:{serial}): apparmor=\"DENIED\" operation=\"open\" profile=\"p\" \
             name=\"/\" pid=1 comm=\"c\""
        );
        Event::parse(line.as_bytes()).unwrap()
    }

    #[test]
    fn each_record_is_reported_once() {
        let mut duplicates = Duplicates::new(UNIX_EPOCH + Duration::from_secs(100));
        for (second, serial) in [(1, 1), (99, 2), (99, 2), (101, 3)] {
            assert!(duplicates.note(&event(second, serial)));
        }
        for (second, serial, again) in [
            (99, 2, true),
            (99, 2, true),
            (99, 2, false),
            (101, 3, true),
            (101, 4, false),
            // Too long ago to be heard.
            (1, 1, false),
        ] {
            assert_eq!(
                duplicates.was_reported(&event(second, serial)),
                again,
                "{serial}"
            );
        }
    }

    #[test]
    fn what_both_transports_bring_is_new_once() {
        let mut transports = Transports::default();
        for (serial, of_audit, is_new) in [
            (1, false, true),
            (1, true, false),
            // Two records of one system call.
            (2, true, true),
            (2, true, true),
            (2, false, false),
            (2, false, false),
            (3, true, true),
        ] {
            assert_eq!(
                transports.is_new(&event(1, serial), of_audit),
                is_new,
                "{serial}"
            );
        }
    }
}

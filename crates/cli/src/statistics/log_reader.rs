//! Reads the log once, to its end.

use std::time::{Duration, Instant, SystemTime};

use crate::log::{Coverage, Entry, EventLog, Gaps, LogOptions};
use oci_apparmor::error::Result;
use oci_apparmor_audit::event::Event;

/// What was read, and what is missing.
#[derive(Debug)]
pub(crate) struct LogRead {
    pub(crate) coverage: Coverage,
    pub(crate) gaps: Gaps,
}

/// How much is read at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadLimits {
    pub(crate) events: usize,
    pub(crate) time: Duration,
}

/// Hands on all events since then, from the most complete log of this node.
///
/// # Errors
/// If there is no log that can be read.
pub(crate) fn read(since: Option<SystemTime>, each: &mut dyn FnMut(&Event)) -> Result<LogRead> {
    let mut log = open(since)?;
    while let Some(entry) = log.next(None)? {
        if let Entry::Event(event) = entry {
            each(&event);
        }
    }
    Ok(LogRead {
        gaps: log.gaps(),
        coverage: log.coverage(),
    })
}

/// The same, up to a limit: then the newest events are left out.
///
/// # Errors
/// As for [`read`].
pub(crate) fn read_within(
    since: SystemTime,
    limits: ReadLimits,
    each: &mut dyn FnMut(&Event),
) -> Result<LogRead> {
    let mut log = open(Some(since))?;
    let started = Instant::now();
    let mut events: usize = 0;
    while events < limits.events && started.elapsed() < limits.time {
        let left = limits.time.saturating_sub(started.elapsed());
        match log.next(Some(left))? {
            Some(Entry::Event(event)) => {
                events = events.saturating_add(1);
                each(&event);
            }
            Some(Entry::Unread(_)) => {}
            // The end, or no time is left.
            None => break,
        }
    }
    Ok(LogRead {
        gaps: log.gaps(),
        coverage: log.coverage(),
    })
}

fn open(since: Option<SystemTime>) -> Result<EventLog> {
    EventLog::open(&LogOptions {
        sources: Vec::new(),
        follow: false,
        since,
    })
}

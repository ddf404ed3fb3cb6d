//! Reads the log once, to its end.

use std::time::SystemTime;

use crate::log::{Coverage, Entry, EventLog, Gaps, LogOptions};
use oci_apparmor::error::Result;
use oci_apparmor_audit::event::Event;

/// What was read, and what is missing.
#[derive(Debug)]
pub(crate) struct LogRead {
    pub(crate) coverage: Coverage,
    pub(crate) gaps: Gaps,
}

/// Hands on all events since then, from the most complete log of this node.
///
/// # Errors
/// If there is no log that can be read.
pub(crate) fn read(since: Option<SystemTime>, each: &mut dyn FnMut(&Event)) -> Result<LogRead> {
    let mut log = EventLog::open(&LogOptions {
        sources: Vec::new(),
        follow: false,
        since,
    })?;
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

//! What the readers of all sources have in common.

use std::os::fd::BorrowedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oci_apparmor::error::Result;
use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::header::Stamp;
use oci_apparmor_audit::unread::Unread;

use super::gaps::Gaps;

/// One line of a log that is about AppArmor.
#[derive(Debug)]
pub(crate) enum Entry {
    /// An event.
    Event(Box<Event>),
    /// A line that could not be read; it is counted in [`Gaps`], too.
    Unread(Unread),
}

/// The result of one read.
#[derive(Debug)]
pub(super) enum Reading {
    Entry(Entry),
    /// There is nothing now.
    Nothing,
    /// There will be nothing more.
    End,
}

/// Reads one source.
pub(super) trait LogReader {
    /// Reads what there is, without waiting. A line that is not of AppArmor is skipped.
    fn read(&mut self, gaps: &mut Gaps) -> Result<Reading>;

    /// What is readable when there is more. `None` if only time tells: a file that grows.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// Since when it has everything that was logged, as far as it was read.
    fn complete_since(&self) -> Option<SystemTime>;
}

/// Counts a line without an event; whether it is worth an entry.
pub(super) fn unread(cause: Unread, gaps: &mut Gaps) -> Option<Entry> {
    gaps.add_unread(cause);
    (cause != Unread::Other).then_some(Entry::Unread(cause))
}

/// What a parsed line is, if anything.
pub(super) fn entry(parsed: std::result::Result<Event, Unread>, gaps: &mut Gaps) -> Option<Entry> {
    match parsed {
        Ok(event) => Some(Entry::Event(Box::new(event))),
        Err(cause) => unread(cause, gaps),
    }
}

/// When a record was written.
pub(crate) fn time_of(stamp: &Stamp) -> Option<SystemTime> {
    let since = Duration::from_secs(stamp.seconds)
        .checked_add(Duration::from_millis(stamp.milliseconds.into()))?;
    UNIX_EPOCH.checked_add(since)
}

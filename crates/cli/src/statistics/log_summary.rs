//! What AppArmor refused since boot, as far as the log still has it.

use std::time::SystemTime;

use crate::statistics::denial_totals::DenialTotals;
use crate::statistics::log_reader::{self, LogRead};
use oci_apparmor_audit::tally::Tally;

/// A summary of the log.
#[derive(Debug, Default)]
pub(crate) struct LogSummary {
    /// Each access with its count.
    pub(crate) tally: Tally,
    /// The same by profile and operation.
    pub(crate) totals: DenialTotals,
    /// Which logs were read; none if none could be.
    pub(crate) sources: Vec<String>,
    /// Since when these have everything that was logged, if that is known.
    pub(crate) complete_since: Option<SystemTime>,
    /// Since when events were wanted.
    pub(crate) since: Option<SystemTime>,
    /// What is missing, for people.
    pub(crate) gaps: Vec<String>,
}

impl LogSummary {
    /// Reads the log since then.
    pub(crate) fn read(since: Option<SystemTime>) -> Self {
        let mut summary = Self {
            since,
            ..Self::default()
        };
        let (tally, totals) = (&mut summary.tally, &mut summary.totals);
        let read = log_reader::read(since, &mut |event| {
            tally.add_event(event);
            // There is no series for each kind here, so no name has to be known.
            totals.add(event, |_| true);
        });
        match read {
            Ok(LogRead { coverage, gaps }) => {
                summary.sources = coverage.sources;
                summary.complete_since = coverage.complete_since;
                summary.gaps = gaps.lines();
            }
            Err(e) => summary.gaps = vec![format!("the log cannot be read: {e}")],
        }
        summary
    }

    /// Whether the logs have everything since then.
    pub(crate) fn is_complete(&self) -> bool {
        let complete = self.complete_since.zip(self.since);
        self.gaps.is_empty() && complete.is_some_and(|(complete, wanted)| complete <= wanted)
    }

    /// What is missing.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = String> {
        self.gaps.iter().cloned()
    }
}

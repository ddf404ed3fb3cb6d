//! What AppArmor denied in the last hour.

use std::time::{Duration, SystemTime};

use oci_apparmor_node_status::DenialCounts;

use super::{facts, lost_records};
use crate::log::Gaps;
use crate::statistics::denial_totals::DenialTotals;
use crate::statistics::log_reader::{LogRead, ReadLimits, read_within};

const HOUR: Duration = Duration::from_secs(3600);

/// What is read at most, so that a flood of denials does not take the time of the node each minute. A
/// log with more is read from its beginning: the counts are then those of its first events.
const LIMITS: ReadLimits = ReadLimits {
    events: 100_000,
    time: Duration::from_secs(10),
};

/// The source whose lines are not of the last hour only; see [`crate::log`].
const KERNEL_LOG: &str = "the kernel's log";

/// Counts the denials; nothing if there is no log that can be read. `is_known`: whether this node has a
/// profile of that name.
pub(super) fn read(now: SystemTime, is_known: impl Fn(&str) -> bool) -> Option<DenialCounts> {
    let mut totals = DenialTotals::default();
    let since = now.checked_sub(HOUR)?;
    match read_within(since, LIMITS, &mut |event| totals.add(event, &is_known)) {
        Ok(LogRead { coverage, gaps }) => {
            let has_older = coverage.sources.iter().any(|source| source == KERNEL_LOG);
            let (counter, recent) = lost(&gaps, has_older);
            let grown = lost_records::grown(counter, now);
            Some(facts::denials(&totals, grown.saturating_add(recent)))
        }
        Err(e) => {
            log::warn!("the log cannot be read: {e}");
            None
        }
    }
}

/// What is lost: what was counted since boot, and what was counted in the last hour.
fn lost(gaps: &Gaps, has_older: bool) -> (u64, u64) {
    let by_kernel = gaps.lost_before.saturating_add(gaps.lost_by_kernel);
    let by_log = [gaps.suppressed, gaps.overwritten, gaps.missed_by_journal];
    let by_log = by_log.into_iter().fold(0, u64::saturating_add);
    match has_older {
        true => (by_kernel.saturating_add(by_log), 0),
        false => (by_kernel, by_log),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernels_log_has_counts_since_boot() {
        let gaps = Gaps {
            lost_before: 1,
            lost_by_kernel: 2,
            suppressed: 10,
            overwritten: 20,
            missed_by_journal: 30,
            malformed: 1000,
            ..Gaps::default()
        };
        assert_eq!(lost(&gaps, true), (63, 0));
        assert_eq!(lost(&gaps, false), (3, 60));
    }
}

//! How a counter grew in the last hour, in `/run/oci-apparmor/lost-records`.
//!
//! The kernel counts the audit records that it lost since boot, and not when.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use oci_apparmor::fs::run;

/// The time in which the growth is wanted.
const HOUR: u64 = 3600;

/// The least time between two values that are kept, in seconds.
const STEP: u64 = 300;

/// More than the file can have.
const MAX: u64 = 1 << 16;

/// A value of the counter at one time, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct LostSample {
    time: u64,
    count: u64,
}

/// Notes the counter's value now, and says how much it grew in the last hour, or since this was first
/// asked. Values that cannot be kept are only logged: the growth is then too small.
pub(super) fn grown(count: u64, now: SystemTime) -> u64 {
    let Ok(path) = run::path().map(|path| path.join("lost-records")) else {
        return 0;
    };
    let bytes = run::read(&path, MAX);
    let before = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let before: Vec<LostSample> = before.unwrap_or_default();
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (samples, grown) = step(&before, count, now);
    if samples != before {
        let text = serde_json::to_vec(&samples).unwrap_or_default();
        if let Err(e) = run::replace(&path, &text) {
            log::debug!("{e}");
        }
    }
    grown
}

/// The values that are kept, and the growth.
fn step(before: &[LostSample], count: u64, now: u64) -> (Vec<LostSample>, u64) {
    let begin = now.saturating_sub(HOUR);
    // A counter that is smaller than before, or a clock that was set back, begins anew.
    let is_valid = |s: &LostSample| s.time <= now && s.count <= count;
    let mut kept: Vec<LostSample> = before.iter().copied().filter(is_valid).collect();
    // The last one from before the hour says what the counter was when the hour began.
    let recent = kept.iter().position(|s| s.time > begin);
    let first = recent.unwrap_or(kept.len()).saturating_sub(1);
    kept.drain(..first);
    let last = kept.last().copied();
    if last.is_none_or(|last| now.saturating_sub(last.time) >= STEP) {
        kept.push(LostSample { time: now, count });
    }
    let base = kept.first().map_or(count, |s| s.count);
    (kept, count.saturating_sub(base))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    /// Each minute, for as long as the values last.
    fn run(counts: impl IntoIterator<Item = u64>) -> (Vec<LostSample>, u64) {
        let mut samples = Vec::new();
        let mut grown = 0;
        for (minute, count) in counts.into_iter().enumerate() {
            (samples, grown) = step(
                &samples,
                count,
                1_000_000_u64.saturating_add(minute as u64 * 60),
            );
        }
        (samples, grown)
    }

    #[test]
    fn the_growth_of_the_last_hour_is_told() {
        assert_eq!(run([7]).1, 0, "before is unknown");
        assert_eq!(run([7, 7, 9]).1, 2);
        let steady = run((0..300).map(|minute| minute * 10));
        assert!((600..=650).contains(&steady.1), "{steady:?}");
        assert!(steady.0.len() <= 14, "{steady:?}");
        let once = run((0..300).map(|minute| if minute < 100 { 0 } else { 50 }));
        assert_eq!(once.1, 0, "it is long ago");
        let reset = run([500, 500, 3]);
        assert_eq!(reset.1, 0);
        assert_eq!(reset.0.len(), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let (samples, _) = step(&[], 5, 9_000);
        let (samples, grown) = step(&samples, 8, 100);
        assert_eq!((samples.len(), grown), (1, 0));
        assert_eq!(step(&samples, 9, 160).1, 1);
    }
}

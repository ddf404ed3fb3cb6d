//! The numbers of audit events: which ones are missing.

use std::collections::VecDeque;

/// How many separate gaps are remembered; records arrive almost in order.
const MOST: usize = 1024;

/// Counts the numbers that were not seen. The kernel takes one only for an event of which it sends a
/// record (`audit_log_start()`, kernel/audit.c), and sends every record to the multicast group.
#[derive(Debug, Default)]
pub(super) struct Serials {
    highest: Option<u64>,
    missing: u64,
    /// Ranges of missing numbers, both ends included: a record may come after one with a higher number.
    gaps: VecDeque<(u64, u64)>,
}

impl Serials {
    /// Notes the number of a record. Several records may have the same.
    pub(super) fn see(&mut self, serial: u64) {
        let Some(highest) = self.highest else {
            self.highest = Some(serial);
            return;
        };
        if serial > highest {
            let first = highest.saturating_add(1);
            if serial > first {
                self.gaps.push_back((first, serial.saturating_sub(1)));
                self.missing = self.missing.saturating_add(serial.saturating_sub(first));
                if self.gaps.len() > MOST {
                    self.gaps.pop_front();
                }
            }
            self.highest = Some(serial);
        } else if let Some(at) = self
            .gaps
            .iter()
            .rposition(|(first, last)| (*first..=*last).contains(&serial))
        {
            self.fill(at, serial);
        }
    }

    fn fill(&mut self, at: usize, serial: u64) {
        let Some((first, last)) = self.gaps.remove(at) else {
            return;
        };
        self.missing = self.missing.saturating_sub(1);
        if serial < last {
            self.gaps.insert(at, (serial.saturating_add(1), last));
        }
        if first < serial {
            self.gaps.insert(at, (first, serial.saturating_sub(1)));
        }
    }

    /// How many were not seen between the first and the highest one.
    pub(super) fn missing(&self) -> u64 {
        self.missing
    }
}

/// The number in `audit(1795342738.894:7): …`.
pub(super) fn serial(text: &[u8]) -> Option<u64> {
    let rest = text.strip_prefix(b"audit(")?;
    let colon = rest.iter().position(|byte| *byte == b':')?;
    let rest = rest.get(colon.checked_add(1)?..)?;
    let end = rest.iter().position(|byte| *byte == b')')?;
    std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_read() {
        assert_eq!(
            serial(b"audit(1795342738.894:7): apparmor=\"DENIED\""),
            Some(7)
        );
        for text in [&b""[..], b"audit(1.2:x): ", b"audit(1.2:7", b"x(1.2:7): "] {
            assert_eq!(serial(text), None);
        }
    }

    proptest! {
        /// In any order, with repeats, what is missing is what is missing in the end.
        #[test]
        fn only_missing_numbers_are_missing(seen in proptest::collection::vec(100u64..200, 1..200)) {
            let mut serials = Serials::default();
            seen.iter().for_each(|serial| serials.see(*serial));
            let (first, last) = (seen[0], *seen.iter().max().unwrap());
            let missing = (first..last).filter(|serial| !seen.contains(serial)).count();
            prop_assert_eq!(serials.missing(), missing as u64);
        }
    }
}

//! What is missing, as numbers for each cause.

use serde::Serialize;

use oci_apparmor_audit::unread::{Unread, UnreadCounts};

/// How much could not be seen, by cause. None of these numbers is about events of AppArmor alone: what
/// is lost cannot be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Gaps {
    /// Audit records that the kernel dropped while this program read, because its queue was full or its
    /// rate limit was reached (`lost` of `struct audit_status`).
    pub(crate) lost_by_kernel: u64,
    /// The same from boot until this program began. When that was is not known.
    pub(crate) lost_before: u64,
    /// How often the socket's buffer overflowed (ENOBUFS).
    pub(crate) overruns: u64,
    /// Audit events that were sent and did not arrive, by the numbers that are missing.
    pub(crate) missing_serials: u64,
    /// Lines that the kernel did not print because of its rate limit.
    pub(crate) suppressed: u64,
    /// Whether the last lines are as many as the rate limit allows; the kernel says only later how many
    /// it suppressed.
    pub(crate) perhaps_suppressed: bool,
    /// Records of the kernel's log that were overwritten before they were read.
    pub(crate) overwritten: u64,
    /// Messages of the kernel that the journal says it missed.
    pub(crate) missed_by_journal: u64,
    /// Lines of AppArmor that are cut, or not as the kernel writes them.
    pub(crate) malformed: u64,
    /// Records of AppArmor with an unknown verdict, or without one.
    pub(crate) unknown_verdict: u64,
    /// Sources that ended while they were followed.
    pub(crate) ended: u64,
    /// Events without a time, left out because only those since some time are wanted.
    pub(crate) undated: u64,
}

impl Gaps {
    /// Counts a line without an event.
    pub(super) fn add_unread(&mut self, cause: Unread) {
        let mut counts = UnreadCounts::default();
        counts.add(cause);
        self.malformed = self.malformed.saturating_add(counts.malformed);
        self.unknown_verdict = self.unknown_verdict.saturating_add(counts.unknown_verdict);
    }

    /// Whether nothing is known to be missing.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// One line for each cause, for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let counts = [
            (
                self.lost_by_kernel,
                "audit records lost in the kernel meanwhile, because its queue was full \
                 (audit_backlog_limit) or its rate limit was reached",
            ),
            (
                self.lost_before,
                "audit records lost in the kernel between boot and the start of this command",
            ),
            (
                self.missing_serials,
                "audit events that did not arrive, by the numbers that are missing",
            ),
            (
                self.suppressed,
                "audit records that the kernel did not print because of its rate limit",
            ),
            (
                self.overwritten,
                "lines of the kernel's log overwritten before they were read",
            ),
            (
                self.missed_by_journal,
                "lines of the kernel's log that the journal missed",
            ),
            (
                self.malformed,
                "lines that mention AppArmor but could not be read (they are cut, or not as the kernel \
                 writes them)",
            ),
            (
                self.unknown_verdict,
                "records of AppArmor with an unknown verdict, or without one",
            ),
            (
                self.ended,
                "sources that ended while they were followed: what was logged since then",
            ),
            (
                self.undated,
                "events without a time, which may be older than asked for",
            ),
        ];
        let counted = counts.iter().filter(|(count, _)| *count > 0);
        let mut lines: Vec<String> = counted
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if self.overruns > 0 && self.missing_serials == 0 {
            lines.push(
                "an unknown number of audit events that did not fit into the socket's buffer"
                    .to_owned(),
            );
        }
        if self.perhaps_suppressed {
            lines.push(
                "an unknown number of audit records after the last ones that the kernel printed: they \
                 are as many as its rate limit allows"
                    .to_owned(),
            );
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_line() {
        assert!(Gaps::default().is_none());
        assert_eq!(Gaps::default().lines(), Vec::<String>::new());
        let mut gaps = Gaps {
            lost_by_kernel: 1,
            lost_before: 2,
            overruns: 3,
            missing_serials: 0,
            suppressed: 5,
            perhaps_suppressed: true,
            overwritten: 6,
            missed_by_journal: 7,
            ended: 9,
            undated: 8,
            ..Gaps::default()
        };
        gaps.add_unread(Unread::Malformed);
        gaps.add_unread(Unread::UnknownVerdict);
        gaps.add_unread(Unread::Other);
        assert!(!gaps.is_none());
        assert_eq!((gaps.malformed, gaps.unknown_verdict), (1, 1));
        assert_eq!(gaps.lines().len(), 11);
        gaps.missing_serials = 4;
        // The serials say how many did not fit.
        assert_eq!(gaps.lines().len(), 11);
        // Each field says something.
        let fields = serde_json::to_value(gaps).unwrap();
        assert_eq!(fields.as_object().unwrap().len(), 12);
    }
}

//! What is said at the end: whether there was nothing, and what could not be seen. Pure.

use std::time::SystemTime;

use crate::log::{Coverage, Gaps};

use super::json::rfc3339;

/// What was read, and what is missing of it.
#[derive(Debug, Clone)]
pub(super) struct Closing {
    pub(super) coverage: Coverage,
    pub(super) gaps: Gaps,
    /// Since when events were wanted; since boot if `None`.
    pub(super) since: Option<SystemTime>,
    pub(super) boot: Option<SystemTime>,
    /// The value of AppArmor's parameter `audit`, if it hides denials.
    pub(super) hidden_by: Option<&'static str>,
    /// Events that may be of the wanted container, for all that is known.
    pub(super) unattributed: u64,
}

impl Closing {
    /// Whether every event that was logged in the wanted time was seen.
    pub(super) fn is_complete(&self) -> bool {
        self.gaps.is_none()
            && self.hidden_by.is_none()
            && self.coverage.is_complete_since(self.since, self.boot)
    }

    /// Without events: whether there were none.
    pub(super) fn nothing(&self) -> Vec<String> {
        let sources = self.coverage.sources.join(", ");
        let since = match self.since.and_then(rfc3339) {
            Some(time) => format!(" since {time}"),
            None => String::new(),
        };
        let found = match self.is_complete() {
            true => format!("No denials{since}; {sources} has everything."),
            false => format!("No denials found{since} in {sources}."),
        };
        vec![
            found,
            "What an explicit deny rule refuses is not logged. To see it, run: \
             oci-apparmor denials --show-denies"
                .to_owned(),
        ]
    }

    /// What could not be seen, and what helps.
    pub(super) fn missing(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(mode) = self.hidden_by {
            lines.push(format!(
                "AppArmor's parameter audit is {mode}, so denials are in no log. To log them, run: \
                 printf normal > /sys/module/apparmor/parameters/audit"
            ));
        }
        if self.coverage.is_of_this_system()
            && !self.coverage.is_silent
            && !self.coverage.is_complete_since(self.since, self.boot)
        {
            let sources = self.coverage.sources.join(", ");
            lines.push(match self.coverage.complete_since.and_then(rfc3339) {
                Some(time) => {
                    format!("Not seen: some of what was before {time}, since when {sources} has everything.")
                }
                None => format!("It is not known since when {sources} has everything."),
            });
        }
        lines.extend(
            self.gaps
                .lines()
                .into_iter()
                .map(|gap| format!("Not seen: {gap}.")),
        );
        if self.unattributed > 0 {
            lines.push(format!(
                "Events that could not be assigned to any container: {}. To see them, run: \
                 oci-apparmor denials",
                self.unattributed
            ));
        }
        let is_lossy = self.gaps.suppressed > 0 || self.gaps.perhaps_suppressed;
        if is_lossy {
            lines.push(
                "To see everything from now on, run: oci-apparmor denials --follow".to_owned(),
            );
        }
        let advice = self.coverage.advice.iter();
        lines.extend(advice.map(|advice| format!("Note: {advice}")));
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(second: u64) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(second))
    }

    fn closing(complete_since: Option<SystemTime>, gaps: Gaps) -> Closing {
        let mut coverage = Coverage::of_this_system();
        coverage.sources = vec!["the journal".to_owned()];
        coverage.complete_since = complete_since;
        Closing {
            coverage,
            gaps,
            since: at(100),
            boot: at(50),
            hidden_by: None,
            unattributed: 0,
        }
    }

    #[test]
    fn nothing_is_only_said_of_what_was_seen() {
        let complete = closing(at(90), Gaps::default());
        assert_eq!(
            complete.nothing()[0],
            "No denials since 1970-01-01T00:01:40.000Z; the journal has everything."
        );
        assert_eq!(complete.missing(), Vec::<String>::new());
        let lost = Gaps {
            lost_before: 3,
            ..Gaps::default()
        };
        let hidden = Closing {
            hidden_by: Some("quiet"),
            ..complete.clone()
        };
        for (closing, says) in [
            (
                closing(at(101), Gaps::default()),
                "before 1970-01-01T00:01:41.000Z",
            ),
            (closing(None, Gaps::default()), "not known since when"),
            (closing(at(90), lost), "3 audit records lost"),
            (hidden, "parameter audit is quiet"),
        ] {
            assert!(!closing.is_complete());
            let found = "No denials found since 1970-01-01T00:01:40.000Z in the journal.";
            assert_eq!(closing.nothing()[0], found);
            assert!(
                closing.missing()[0].contains(says),
                "{:?}",
                closing.missing()
            );
        }
    }
}

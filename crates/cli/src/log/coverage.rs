//! Since when a log has everything.

use std::time::SystemTime;

/// What was read, and since when it is complete, apart from what [`Gaps`](super::Gaps) counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Coverage {
    /// The sources, for people.
    pub(crate) sources: Vec<String>,
    /// Since when they have every event that is logged; `None` if that is unknown.
    pub(crate) complete_since: Option<SystemTime>,
    /// What to do to see more, if anything helps.
    pub(crate) advice: Vec<String>,
    /// Whether a source is one of this system, so that its counters tell what is missing.
    pub(super) is_of_this_system: bool,
    /// Whether the source gets no records: the kernel sends none, or sends them elsewhere.
    pub(crate) is_silent: bool,
    /// Until when another program got the records that the sources would have.
    pub(super) elsewhere_until: Option<SystemTime>,
    /// Whether a log was read to its end.
    pub(super) read: bool,
}

impl Coverage {
    /// Of sources of this system.
    #[cfg(test)]
    pub(crate) fn of_this_system() -> Self {
        Self {
            is_of_this_system: true,
            ..Self::default()
        }
    }

    /// Whether a source is one of this system, not a file that was named.
    pub(crate) fn is_of_this_system(&self) -> bool {
        self.is_of_this_system
    }

    /// Several logs are complete since the time since which each of them is.
    pub(super) fn add(&mut self, since: Option<SystemTime>) {
        self.complete_since = match (self.read, self.complete_since) {
            (false, _) => since,
            (true, Some(other)) => since.map(|since| since.max(other)),
            (true, None) => None,
        };
        self.read = true;
    }

    /// Whether everything since `time` was seen, or, without a time, since `boot`.
    pub(crate) fn is_complete_since(
        &self,
        time: Option<SystemTime>,
        boot: Option<SystemTime>,
    ) -> bool {
        match (self.complete_since, time.or(boot)) {
            (Some(complete), Some(wanted)) => !self.is_silent && complete <= wanted,
            _ => false,
        }
    }
}

//! Lines that say nothing about an access, counted by cause.

/// Why a line has no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It is not a line of AppArmor.
    Other,
    /// It is a line of AppArmor, or looks like one, but it is cut, or not as the kernel writes it.
    Malformed,
    /// It is a record of AppArmor with a verdict that is not known, or without one: the kernel's
    /// parameter `apparmor.audit_header` leaves it out.
    UnknownVerdict,
}

/// How many lines had no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnreadCounts {
    /// Lines that are not of AppArmor.
    pub other: u64,
    /// Lines of AppArmor that are cut, or not as the kernel writes them.
    pub malformed: u64,
    /// Records of AppArmor with an unknown verdict.
    pub unknown_verdict: u64,
}

impl UnreadCounts {
    /// Counts a line.
    pub fn add(&mut self, cause: Unread) {
        let count = match cause {
            Unread::Other => &mut self.other,
            Unread::Malformed => &mut self.malformed,
            Unread::UnknownVerdict => &mut self.unknown_verdict,
        };
        *count = count.saturating_add(1);
    }

    /// Lines of AppArmor that could not be read.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.malformed.saturating_add(self.unknown_verdict)
    }
}

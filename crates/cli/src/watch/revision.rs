//! Changes of the kernel's policy, by its revision.

use std::fs::File;

use crate::watch::wakeup::Wakeup;
use oci_apparmor::apparmor::kernel::{self, Kernel};

/// The revision of the kernel's policy.
pub(crate) struct PolicyRevision {
    pub(super) file: Option<File>,
    seen: Option<u64>,
}

impl PolicyRevision {
    pub(crate) fn of(kernel: &Kernel) -> Self {
        Self {
            file: kernel.revision_file(),
            seen: None,
        }
    }

    /// Whether it has changed since the last call.
    pub(crate) fn has_changed(&mut self) -> bool {
        let now = self.file.as_ref().and_then(kernel::revision_in);
        let changed = now.is_some() && now != self.seen;
        if changed {
            self.seen = now;
        }
        changed
    }

    /// What has happened; `told`: the file is readable.
    pub(super) fn event(&mut self, told: bool) -> Wakeup {
        if self.has_changed() {
            return Wakeup::Kernel;
        }
        if told {
            // It is readable although nothing has changed, so it would be forever.
            self.file = None;
        }
        Wakeup::Nothing
    }

    /// Whether the kernel reports changes by itself.
    pub(crate) fn tells(&self) -> bool {
        self.file.is_some()
    }
}

//! The node as one call sees it: its settings and its kernel, read once and passed down.

use crate::apparmor::kernel::Kernel;
use crate::error::Result;
use crate::settings::Settings;

/// What this node demands and allows, and the kernel that enforces it.
#[derive(Debug, Default)]
pub struct Node {
    /// Its configuration.
    pub settings: Settings,
    /// Its kernel.
    pub kernel: Kernel,
}

impl Node {
    /// This node.
    ///
    /// # Errors
    /// As for [`Settings::load`].
    pub fn load() -> Result<Self> {
        Settings::load().map(Self::with)
    }

    /// This node with these settings.
    #[must_use]
    pub fn with(settings: Settings) -> Self {
        Self {
            settings,
            kernel: Kernel::default(),
        }
    }
}

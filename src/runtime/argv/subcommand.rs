//! The subcommands that the wrapper handles.

/// A subcommand that the wrapper handles. All others are passed on unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subcommand {
    /// Creates a container.
    Create,
    /// Creates and starts a container.
    Run,
    /// Starts a process in a running container.
    Exec,
    /// Creates a container from a checkpoint.
    Restore,
    /// Starts a created container.
    Start,
    /// Deletes a container.
    Delete,
}

impl Subcommand {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Create,
        Self::Run,
        Self::Exec,
        Self::Restore,
        Self::Start,
        Self::Delete,
    ];

    /// The word on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Run => "run",
            Self::Exec => "exec",
            Self::Restore => "restore",
            Self::Start => "start",
            Self::Delete => "delete",
        }
    }

    /// Whether it creates a container from a bundle.
    #[must_use]
    pub fn creates_a_container(self) -> bool {
        matches!(self, Self::Create | Self::Run | Self::Restore)
    }

    /// Whether it starts a process of a container. If such a line cannot be parsed, it is refused.
    #[must_use]
    pub fn starts_a_process(self) -> bool {
        self != Self::Delete
    }
}

//! What a loaded profile is checked for.

/// What a loaded profile is checked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Its mode, and its content if the source is in the first profile directory.
    Content,
    /// Only its mode. `exec` uses this, so that an edited source does not fail health checks of
    /// running containers.
    Mode,
}

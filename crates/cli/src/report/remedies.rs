//! Remedies that several commands print.

/// What makes a file or a directory trusted. The reason names the one that is not.
pub(crate) const ROOT_ONLY: &str =
    "it and every directory above it must belong to root, and only root may write them";

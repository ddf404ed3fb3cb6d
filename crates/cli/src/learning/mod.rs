//! Profiles from what is known and from what was seen: the first text of a profile, and what is
//! added to it.

pub(crate) mod bundle;
pub(crate) mod command;
pub(crate) mod command_line;
mod edit;
pub(crate) mod replacement;
mod rootfs;
pub(crate) mod starting_profile;

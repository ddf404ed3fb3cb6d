//! Profiles from what is known and from what was seen: the first text of a profile, and what is
//! added to it.

pub(crate) mod bundle;
pub(crate) mod command;
pub(crate) mod command_line;
pub(crate) mod draft;
mod edit;
pub(crate) mod events;
mod manifest;
pub(crate) mod proof;
pub(crate) mod replacement;
mod rootfs;
pub(crate) mod source_text;
pub(crate) mod starting_profile;
pub(crate) mod suggestion;
pub(crate) mod suggestion_json;
pub(crate) mod told;

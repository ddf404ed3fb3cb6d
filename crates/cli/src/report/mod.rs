//! How commands print: text and tables for people, JSON for programs.

pub(crate) mod outcome;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod remedies;
pub(crate) mod table;
pub(crate) mod users;

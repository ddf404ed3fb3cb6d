//! From the events of a profile to rules in its source.

mod command_line;
mod edit;
mod replacement;

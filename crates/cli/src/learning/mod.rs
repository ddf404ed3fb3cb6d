//! From the events of a profile to rules in its source.

mod edit;

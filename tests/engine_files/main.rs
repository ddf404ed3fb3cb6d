//! The files that `oci-apparmor configure` makes of others, for each engine and each version of
//! its configuration: `tests/data/engine_files/CASE/` has the command line (`call`), the tree of a
//! node before, and after. With `OCI_APPARMOR_BLESS=1` the trees after are written anew: read the
//! difference before you commit it.

// What a test cannot do must end it, and its numbers are small.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice,
    clippy::unwrap_used
)]

#[path = "../support/mod.rs"]
mod support;

mod accepted_by_engines;
mod configure_refusals;
mod edited_meanwhile;
mod golden_files;
mod node_killed;
mod node_trees;

//! The files that `oci-apparmor configure` makes of others, for each engine and each version of
//! its configuration: `tests/engines/CASE/` has the command line (`call`), the tree of a node
//! before, and after. With `OCI_APPARMOR_BLESS=1` the trees after are written anew: read the
//! difference before you commit it.
//!
//! And what low-level runtimes make of command lines (`as_read`).

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

#[path = "engines/accepted.rs"]
mod accepted;
#[path = "engines/as_read.rs"]
mod as_read;
#[path = "engines/golden.rs"]
mod golden;
#[path = "engines/lines.rs"]
mod lines;
#[path = "engines/living.rs"]
mod living;
#[path = "engines/refused.rs"]
mod refused;
#[path = "engines/traced.rs"]
mod traced;

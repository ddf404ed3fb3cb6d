//! Low-level runtimes that AppArmor 4 gives a label of their own: those of Debian trixie, on its
//! kernel, in a virtual machine (`.cargo/config.toml`, `tests/vm/README.md`).

// Tests may fail by panicking, and print what they could not do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::print_stdout
)]
#![allow(missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod runtime_labels;

// What `kernel_containers` tests too: here with these runtimes.
#[path = "../kernel_containers/restore.rs"]
mod restore;
// Rules that only AppArmor 4 knows.
#[path = "../kernel_profiles/provoked_events.rs"]
mod provoked_events;
#[path = "../kernel_containers/runtimes.rs"]
mod runtimes;
#[path = "../kernel_containers/without_request.rs"]
mod without_request;

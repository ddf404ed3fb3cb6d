//! The real engines of each Debian release that is supported, on its own kernel and with its own
//! AppArmor: in a virtual machine (`.cargo/config.toml`, `tests/vm/README.md`).

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

// What this suite does not use of the support is used by the other.
#[allow(dead_code)]
#[path = "kernel/support.rs"]
mod support;

#[path = "engines/podman.rs"]
mod podman;
#[path = "engines/release.rs"]
mod release;

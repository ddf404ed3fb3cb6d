//! Profiles on a real AppArmor kernel, and what the kernels' interfaces have in common and do
//! not: on each of several kernels in a virtual machine, or on this host where it has AppArmor
//! (`.cargo/config.toml`, `tests/vm/README.md`).

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

#[path = "kernel/children.rs"]
mod children;
#[path = "kernel/compiled.rs"]
mod compiled;
#[path = "kernel/drift.rs"]
mod drift;
#[path = "kernel/full.rs"]
mod full;
#[path = "kernel/herd.rs"]
mod herd;
#[path = "kernel/interfaces.rs"]
mod interfaces;
#[path = "kernel/living.rs"]
mod living;
#[path = "kernel/many.rs"]
mod many;
#[path = "kernel/policy.rs"]
mod policy;
#[path = "kernel/profiles.rs"]
mod profiles;
#[path = "kernel/scale.rs"]
mod scale;

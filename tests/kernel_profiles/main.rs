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

#[path = "../support/mod.rs"]
mod support;

use support::policy_files;

mod asked_and_tried;
mod child_profiles;
mod compilation;
mod concurrent_starts;
mod denials_followed;
mod drift;
mod ensure_cost;
mod full_disk;
mod kernel_interfaces;
mod loaded_profiles;
mod many_profiles;
mod profile_changes;
mod provoked_events;

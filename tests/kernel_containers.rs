//! Real containers on a real AppArmor kernel: in a virtual machine, or on this host where it has
//! one (`.cargo/config.toml`, `tests/vm/README.md`).

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

#[path = "kernel/support.rs"]
mod support;

#[path = "kernel/commands.rs"]
mod commands;
#[path = "kernel/configured.rs"]
mod configured;
#[path = "kernel/containerd.rs"]
mod containerd;
#[path = "kernel/engines.rs"]
mod engines;
#[path = "kernel/hooks.rs"]
mod hooks;
#[path = "kernel/killed.rs"]
mod killed;
#[path = "kernel/leaks.rs"]
mod leaks;
#[path = "kernel/lint.rs"]
mod lint;
#[path = "kernel/manifests.rs"]
mod manifests;
#[path = "kernel/neighbours.rs"]
mod neighbours;
#[path = "kernel/node.rs"]
mod node;
#[path = "kernel/orphaned.rs"]
mod orphaned;
#[path = "kernel/race.rs"]
mod race;
#[path = "kernel/refusals.rs"]
mod refusals;
#[path = "kernel/removed.rs"]
mod removed;
#[path = "kernel/restore.rs"]
mod restore;
#[path = "kernel/rootless.rs"]
mod rootless;
#[path = "kernel/runtimes.rs"]
mod runtimes;
#[path = "kernel/sabotage.rs"]
mod sabotage;
#[path = "kernel/transparency.rs"]
mod transparency;

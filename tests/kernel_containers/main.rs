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

#[path = "../support/mod.rs"]
mod support;

mod cluster_spool;
mod containerd_client;
mod engine_annotations;
mod faulty_runtimes;
mod hook_without_wrapper;
mod killed_during_start;
mod killed_wrapper;
mod leaks;
mod learn_and_suggest;
mod lint_findings;
mod load_and_mode;
mod manifest_profiles;
mod node_configuration;
mod node_status;
mod podman_configured;
mod refusals;
mod removed_profiles;
mod restore;
mod rootless;
mod runtimes;
mod shared_pid_namespace;
mod unload_races;
mod without_request;

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

#[path = "../support/mod.rs"]
mod support;

mod cluster_pods;
mod containerd;
mod containerd_node;
mod containerd_pods;
mod containerd_restarts;
mod containerd_unchanged;
mod cri_client;
mod cri_messages;
mod cri_pod;
mod cri_streaming;
mod crio;
mod crio_annotations;
mod crio_calls;
mod crio_forged;
mod crio_real;
mod crio_recorded;
mod ctr;
mod debian_release;
mod debian_upgrade;
mod docker;
mod learning;
mod podman;
mod systemd_boot;
mod terminal;

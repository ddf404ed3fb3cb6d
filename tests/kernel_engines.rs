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

// Each suite uses a part of it.
#[allow(dead_code)]
#[path = "support/kubernetes.rs"]
mod kubernetes;

#[path = "engines/containerd.rs"]
mod containerd;
#[path = "engines/cri.rs"]
mod cri;
#[path = "engines/cri_messages.rs"]
mod cri_messages;
#[path = "engines/crio.rs"]
mod crio;
#[path = "engines/crio_annotations.rs"]
mod crio_annotations;
#[path = "engines/crio_calls.rs"]
mod crio_calls;
#[path = "engines/crio_forged.rs"]
mod crio_forged;
#[path = "engines/crio_real.rs"]
mod crio_real;
#[path = "engines/crio_recorded.rs"]
mod crio_recorded;
#[path = "engines/ctr.rs"]
mod ctr;
#[path = "engines/docker.rs"]
mod docker;
#[path = "engines/pod.rs"]
mod pod;
#[path = "engines/podman.rs"]
mod podman;
#[path = "engines/pods.rs"]
mod pods;
#[path = "engines/pods_alike.rs"]
mod pods_alike;
#[path = "engines/pods_live_on.rs"]
mod pods_live_on;
#[path = "engines/release.rs"]
mod release;
#[path = "engines/streaming.rs"]
mod streaming;
#[path = "engines/terminal.rs"]
mod terminal;

//! The files of `deploy/` and the program `oci-apparmor-agent` with a real API server: etcd and
//! kube-apiserver of the directory that `KUBEBUILDER_ASSETS` names. There is no kubelet, no controller
//! and no garbage collector.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    missing_docs
)]

mod agent;
mod client;
mod cluster;
mod definitions;
mod deployed;
mod node_label;
mod node_reports;
mod own_node;
mod pod_policies;
mod proxy;
mod rights;
mod server;
mod spool;

//! The real programs on a prepared node, with stand-ins that record how they are called.
//!
//! Needs root, unshare(1) and mount(1). Where these are missing the tests say so and pass, unless
//! `OCI_APPARMOR_MUST_RUN=1`.

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

mod broken;
mod bundles;
mod call;
mod cli;
mod commands;
mod configure;
mod create;
mod crio;
mod cycles;
mod distributions;
mod exec;
mod handed_on;
mod hook;
#[path = "../support/installed.rs"]
mod installed;
mod interrupted;
mod kept;
mod killed;
mod life;
mod lint;
mod loading;
mod manifests;
mod node;
mod pods;
mod policy;
mod refusals;
mod sandbox;
mod surroundings;
mod tidying;
mod wiring;

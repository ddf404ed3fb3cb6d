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

#[path = "../support/mod.rs"]
mod support;

mod broken_configuration;
mod bundles;
mod call;
mod caller_environment;
mod check_engines;
mod command_output;
mod compiled_policy;
mod configuration_reads;
mod configure;
mod counters;
mod create;
mod crio_bundles;
mod denials_command;
mod distributions;
mod exec;
mod hook;
mod leftovers;
mod lint_command;
mod loading;
mod manifest_sources;
mod node;
mod node_metrics;
mod node_report;
mod node_status_command;
mod passed_through;
mod pod_records;
mod profile_commands;
mod record_lifecycle;
mod refusal_messages;
mod runtime_choice;
mod sandbox;
mod start_faults;
mod suggest_command;
mod sync_command;
mod system_call_faults;
mod unload_and_gc;
mod why_refusals;

//! A command line means to runc and crun what the wrapper reads in it: shown with the real
//! programs, and thousands of lines.

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

mod generated_lines;
mod runtimes_agree;
mod traced_runtime;

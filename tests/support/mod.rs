//! What several suites, and the benchmarks, use. A suite takes it in with
//! `#[path = "../support/mod.rs"] mod support;`.

// Each suite uses a part of it. Tests may fail by panicking, and print what they could not do.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::print_stderr
)]

pub(crate) mod containers;
pub(crate) mod installed;
pub(crate) mod kubernetes;
pub(crate) mod made_packages;
pub(crate) mod policy_files;
pub(crate) mod programs;
pub(crate) mod root_trees;

//! What several suites, and the benchmark, use. A suite takes it in with
//! `#[path = "../support/mod.rs"] mod support;`.

pub(crate) mod containers;
pub(crate) mod installed;
pub(crate) mod kubernetes;
pub(crate) mod programs;
pub(crate) mod root_trees;

//! What an engine hands to an OCI runtime: `config.json`, the process of `exec`, and the state that
//! hooks read.
//!
//! Engines and runtimes use fields that no typed model has. So a value is located by its span and
//! replaced there; every other byte stays.

use std::collections::BTreeMap;

pub mod document;
pub mod fields;
pub mod files;
pub mod preflight;
pub mod process;
pub mod state;

/// The annotations of a bundle.
pub type Annotations = BTreeMap<String, String>;

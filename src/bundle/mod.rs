//! `config.json`, `process.json` and the state that hooks read.
//!
//! Engines and runtimes know more fields than any typed model does, so nothing here goes through
//! one: a value is located by its span and spliced, and every other byte stays.

use std::collections::BTreeMap;

pub mod document;
pub mod fields;
pub mod files;
pub mod preflight;
pub mod process;
pub mod state;

/// The annotations of a bundle.
pub type Annotations = BTreeMap<String, String>;

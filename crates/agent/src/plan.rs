//! What is to be done so that the spool has what the API has. Pure.

use std::collections::BTreeMap;

use crate::file::SpoolFile;
use crate::object::{Feed, ObjectFile};
use crate::state::ApiState;

/// What is known of the spool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpoolView {
    /// The SHA-256 of each file; nothing where it could not be read.
    pub files: BTreeMap<SpoolFile, Option<[u8; 32]>>,
    /// Whether `.complete` is there.
    pub complete: bool,
}

/// One step, to be done in the order of the plan; after one that fails, the others wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpoolStep {
    /// Write the file.
    Write(ObjectFile),
    /// Remove the file.
    Remove(SpoolFile),
    /// Create `.complete`.
    MarkComplete,
}

/// The steps from what the spool has to what the API has.
///
/// Before all feeds were listed once, there are none: which object has a name depends on all of
/// them. While one is listed again, nothing is removed. Files of a kind that the API does not serve
/// stay: a CRD can be away for a moment, when it is installed anew.
#[must_use]
pub fn plan(state: &ApiState, view: &SpoolView) -> Vec<SpoolStep> {
    if !state.is_known() {
        return Vec::new();
    }
    let may_remove =
        |file: &SpoolFile| state.is_settled() && state.is_served(Feed::of(file.content()));
    let wanted = state.files();
    let mut steps = Vec::new();
    for file in wanted.values() {
        let other = file.file.counterpart();
        // Two files of one profile would contradict each other.
        let blocked = view.files.contains_key(&other) && !may_remove(&other);
        let same = view.files.get(&file.file) == Some(&Some(file.digest));
        if !same && !blocked {
            steps.push(SpoolStep::Write((*file).clone()));
        }
    }
    for file in view.files.keys() {
        let is_wanted = wanted.get(file.name()).is_some_and(|w| w.file == *file);
        if !is_wanted && may_remove(file) {
            steps.push(SpoolStep::Remove(file.clone()));
        }
    }
    if !view.complete && state.is_settled() {
        steps.push(SpoolStep::MarkComplete);
    }
    steps
}

#[cfg(test)]
mod tests;

//! The result of inspecting an engine's files.

use std::path::PathBuf;

/// The directory of hooks that podman and CRI-O read unless they are configured otherwise
/// (`default.go` in containers/common, `config.go` in CRI-O).
pub(crate) const DEFAULT_HOOKS: &str = "/usr/share/containers/oci/hooks.d";

/// A runtime of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handler {
    /// Its name in the engine.
    pub(crate) name: String,
    /// The program that the engine calls, if the file names one.
    pub(crate) program: Option<String>,
    /// The file that defines it.
    pub(crate) file: PathBuf,
}

/// Something in an engine's files that keeps containers, or their annotations, from the wrapper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Whether containers start without their profile because of it, or do not start.
    pub(crate) fails: bool,
    /// What is wrong.
    pub(crate) text: String,
    /// How to repair it.
    pub(crate) remedy: String,
}

impl Problem {
    pub(crate) fn failure(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            fails: true,
            text: text.into(),
            remedy: remedy.into(),
        }
    }

    pub(crate) fn warning(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            fails: false,
            ..Self::failure(text, remedy)
        }
    }
}

/// What an engine's files say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inspection {
    /// All runtimes, in the order in which they are read. If several have the same name, the last
    /// one is in force.
    pub(crate) handlers: Vec<Handler>,
    /// The name of the default runtime, if it is known.
    pub(crate) default: Option<String>,
    /// The directories of hooks; empty for engines without hooks.
    pub(crate) hooks: Vec<PathBuf>,
    /// What is wrong.
    pub(crate) problems: Vec<Problem>,
}

//! What an engine's files say now, and what is wrong with it.

use std::path::PathBuf;

/// A runtime that an engine can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// Its name in the engine.
    pub name: String,
    /// The program that the engine calls, where the file names one.
    pub program: Option<String>,
    /// The file that defines it.
    pub file: PathBuf,
}

/// Something that keeps containers from us, or their annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Whether containers are not guarded, or do not start, because of it.
    pub fails: bool,
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
}

impl Mistake {
    pub(super) fn failure(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            fails: true,
            text: text.into(),
            remedy: remedy.into(),
        }
    }

    pub(super) fn warning(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            fails: false,
            ..Self::failure(text, remedy)
        }
    }
}

/// What an engine's files say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// All its runtimes; of several of one name the last is in force.
    pub handlers: Vec<Handler>,
    /// The runtime of containers that ask for none, where it is known.
    pub default: Option<String>,
    /// The directories of its hooks, where it has hooks.
    pub hooks: Vec<PathBuf>,
    /// What is wrong.
    pub mistakes: Vec<Mistake>,
}

//! Which containers of an engine get to the wrapper.

use std::path::PathBuf;

use serde::Serialize;

/// For which containers an engine calls the wrapper, as its configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WrapperCalls {
    /// For all: the wrapper is its default runtime.
    All,
    /// For those that name the wrapper's runtime.
    Named,
    /// For none, but it calls the hook.
    Hook,
    /// For none.
    None,
    /// It cannot be told, or the program that it calls cannot be used.
    Unknown,
}

/// An engine of this node.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EngineWiring {
    /// Its name on the command line.
    pub(crate) engine: &'static str,
    /// Its name for people: there may be several containerds.
    pub(crate) title: String,
    /// The file that `configure` changes or creates.
    pub(crate) configuration: PathBuf,
    /// For which containers it calls the wrapper.
    pub(crate) calls: WrapperCalls,
    /// The first thing that `check` does not find in order about it.
    #[serde(skip)]
    pub(crate) concern: Option<String>,
}

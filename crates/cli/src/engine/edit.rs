//! A file of an engine, and the change of one.

use std::path::PathBuf;

/// A file of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFile {
    /// Its path, as the engine sees it.
    pub path: PathBuf,
    /// Its whole text.
    pub text: String,
}

/// The change after which an engine calls the wrapper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The file, with its new text.
    pub(crate) file: TextFile,
    /// The program that the engine will call.
    pub(crate) program: PathBuf,
    /// The program that the engine calls now, as its configuration names it; `None` where it
    /// searches for one.
    pub(crate) replaces: Option<String>,
    /// The default runtime before the change, where the changed file names it.
    pub(crate) former_default: Option<String>,
    /// What a person should know about the change.
    pub(crate) notes: Vec<String>,
}

/// The first line of each file that `configure` creates, and of each section that it adds to a
/// template. `unconfigure` and later versions of `configure` recognise files by it.
pub(crate) const HEADER: &str =
    "# Made by `oci-apparmor configure`; `oci-apparmor unconfigure` takes it away.\n";

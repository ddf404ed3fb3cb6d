//! What a profile was compiled from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::fs::fingerprint::{Fingerprint, unchanged};
use crate::profiles::source::Source;

/// What a profile was compiled from. Records in `/run` contain it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BuildInfo {
    /// The source file.
    pub source: PathBuf,
    /// Whether it was forced into complain mode.
    pub complain: bool,
    /// The digest of the text and of everything that it includes.
    pub content: String,
    /// The name of the policy in the cache.
    pub key: String,
    /// The source and everything that it includes.
    pub files: Vec<(PathBuf, Fingerprint)>,
    /// The parser and its configuration.
    pub toolchain: Vec<(PathBuf, Fingerprint)>,
    /// Whether equal fingerprints prove that nothing has changed.
    pub settled: bool,
}

impl BuildInfo {
    /// Whether compiling this source now would give the same policy: neither a file nor the parser
    /// has changed.
    pub(crate) fn is_current(&self, source: &Source) -> bool {
        self.settled
            && !source.is_unusable()
            && self.source == source.path
            && self.complain == source.complain
            && self.has_unchanged_files(source)
            && unchanged(&self.toolchain)
    }

    /// Whether the source, as it was found, and the files that it includes have not changed.
    fn has_unchanged_files(&self, source: &Source) -> bool {
        let is_source =
            |(path, _): &&(PathBuf, Fingerprint)| path.as_os_str() == source.path.as_os_str();
        let files = || self.files.iter();
        files()
            .filter(is_source)
            .all(|(_, then)| then == source.fingerprint())
            && unchanged(files().filter(|file| !is_source(file)))
    }
}

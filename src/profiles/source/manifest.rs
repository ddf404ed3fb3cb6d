//! One profile in an `AppArmorProfile` manifest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fs::fingerprint::Fingerprint;
use crate::profiles::source::directory::may_be_file;

/// The file extensions of manifests. JSON is a subset of YAML.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// A profile in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ManifestProfile {
    /// The file of the manifest.
    pub path: PathBuf,
    /// The fingerprint of the file when it was read.
    #[serde(rename = "stamp")]
    pub fingerprint: Fingerprint,
    /// Whether it has `mode: Complain`.
    pub complain: bool,
    /// Whether it has `state: Disabled`.
    pub disabled: bool,
    /// The text of the profile, or why it cannot be rendered.
    pub text: std::result::Result<String, String>,
}

/// Whether a file of this name contains manifests, and not the text of a profile.
pub(super) fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str());
    extension.is_some_and(|e| EXTENSIONS.contains(&e))
}

/// The manifests of a directory, sorted.
pub(super) fn manifests_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_hidden = path
            .file_name()
            .is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        if is_manifest(&path) && !is_hidden && may_be_file(&path) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

//! Small JSON files in `/run/oci-apparmor/profiles`. They are caches: a missing file only costs
//! time.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::fs::run;

const DIRECTORY: &str = "profiles";

/// Larger than any of these files.
const MAX: u64 = 8 << 20;

/// Reads a file; `None` if it does not exist, or if it cannot be used.
pub(super) fn read<T: DeserializeOwned>(name: &str) -> Option<T> {
    let path = run::path().ok()?.join(DIRECTORY).join(name);
    serde_json::from_slice(&run::read(&path, MAX)?).ok()
}

/// Writes a file, best effort.
pub(super) fn write<T: Serialize>(name: &str, value: &T) {
    let Ok(base) = run::path() else { return };
    let Ok(text) = serde_json::to_vec(value) else {
        return;
    };
    let path = base.join(DIRECTORY).join(name);
    if let Err(e) = run::replace(&path, &text) {
        log::debug!("{e}");
    }
}

/// Removes a file, best effort.
pub(super) fn remove(name: &str) {
    if let Ok(base) = run::path() {
        let _ = fs::remove_file(base.join(DIRECTORY).join(name));
    }
}

/// The paths of all files.
///
/// # Errors
/// If the directory cannot be read.
pub(super) fn list() -> Result<Vec<PathBuf>> {
    run::list(&run::path()?.join(DIRECTORY))
}

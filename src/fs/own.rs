//! Files and directories that belong to the user who runs this program, and that only this user
//! can write.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::fs::bounded;
use crate::user_namespace;

/// The contents of an open regular file of this user, at most `max` bytes.
///
/// `None` if it belongs to another user, if others can write it, or if it is larger.
#[must_use]
pub fn read(file: &File, max: u64) -> Option<Vec<u8>> {
    let meta = file.metadata().ok()?;
    let own = meta.uid() == user_namespace::effective_uid() && meta.mode() & 0o022 == 0;
    if !meta.is_file() || !own {
        return None;
    }
    bounded::read_sized(file, meta.len(), max).ok()?
}

/// Makes sure that `path` is a directory of this user; creates it with `mode` if it is missing.
///
/// # Errors
/// [`Kind::Internal`] if it cannot be created, or if another user can write it.
pub fn directory(path: &Path, mode: u32) -> Result<()> {
    // It usually exists; then one lstat(2) is enough.
    if check_directory(path).is_ok() {
        return Ok(());
    }
    if let Err(e) = DirBuilder::new().recursive(true).mode(mode).create(path) {
        return Err(Error::io("create the directory", path, &e));
    }
    check_directory(path)
}

/// Checks that `path` is a directory that only this user can write. Creates nothing.
///
/// # Errors
/// [`Kind::Internal`] if it is missing, or if another user can write it.
pub fn check_directory(path: &Path) -> Result<()> {
    let meta = fs::symlink_metadata(path).map_err(|e| Error::io("look at", path, &e))?;
    let me = user_namespace::effective_uid();
    if meta.is_dir() && meta.uid() == me && meta.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(Error::new(
        Kind::Internal,
        format!(
            "{} is not a directory that only uid {me} can write",
            path.display()
        ),
    )
    .with_remedy("remove it; it is created again"))
}

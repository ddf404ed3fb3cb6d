//! What the kernel can enforce.

use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::apparmor::kernel::securityfs::{Kernel, line};
use crate::error::{Error, Result};

impl Kernel {
    /// Whether this kernel accepts compiled policy of this version; true if it lists no versions.
    #[must_use]
    pub fn reads_policy_version(&self, version: u32) -> bool {
        let versions = self.features().join("policy/versions");
        !versions.is_dir() || line(&versions.join(format!("v{version}"))).as_deref() == Some("yes")
    }
}

/// A digest of the names and contents of all files in a tree of small files.
///
/// # Errors
/// If one of them cannot be read.
pub fn digest(tree: &Path) -> Result<[u8; 32]> {
    let mut digest = Sha256::new();
    add_tree(tree, &mut digest)?;
    Ok(digest.finalize().into())
}

fn add_tree(directory: &Path, digest: &mut Sha256) -> Result<()> {
    let failed = |e: &io::Error| Error::io("read", directory, e);
    let entries: io::Result<Vec<_>> = fs::read_dir(directory).and_then(Iterator::collect);
    let mut entries = entries.map_err(|e| failed(&e))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        if entry.file_type().map_err(|e| failed(&e))?.is_dir() {
            digest.update([b'd']);
            digest.update(name.as_encoded_bytes());
            digest.update([0]);
            add_tree(&path, digest)?;
            digest.update([b'/']);
        } else {
            let bytes = fs::read(&path).map_err(|e| Error::io("read", &path, &e))?;
            digest.update([b'f']);
            digest.update(name.as_encoded_bytes());
            digest.update([0]);
            digest.update(Sha256::digest(&bytes));
        }
    }
    Ok(())
}

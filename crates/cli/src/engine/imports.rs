//! The `imports` of containerd's files.

use std::path::{Path, PathBuf};

use crate::engine::edit::TextFile;
use crate::engine::format::containerd;
use crate::engine::root::NodeRoot;
use oci_apparmor::error::Result;

/// More files than any engine reads.
pub(crate) const MAX_FILES: usize = 64;

/// The imports of a file, as they are written there.
pub(crate) fn as_written(file: &TextFile) -> Result<Vec<String>> {
    containerd::imports(file)
}

/// The files that a file imports. A path may have `*` in its last part, and is absolute or relative
/// to the file's directory.
fn resolved(root: &NodeRoot, file: &TextFile) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for import in containerd::imports(file)? {
        let path = file.path.parent().unwrap_or(Path::new("/")).join(&import);
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            continue;
        };
        let name = name.to_string_lossy();
        match glob::Pattern::new(&name) {
            Ok(pattern) if name.contains(['*', '?', '[']) => {
                let fits = |p: &PathBuf| {
                    p.file_name()
                        .is_some_and(|n| pattern.matches(&n.to_string_lossy()))
                };
                found.extend(root.list(directory).into_iter().filter(fits));
            }
            _ => found.push(path),
        }
    }
    Ok(found)
}

/// Appends the files that `files` import, directly or through each other.
pub(crate) fn append(root: &NodeRoot, files: &mut Vec<TextFile>) -> Result<()> {
    let mut at = 0;
    while let Some(file) = files.get(at).cloned() {
        for path in resolved(root, &file)? {
            if files.len() < MAX_FILES && !files.iter().any(|file| file.path == path) {
                files.extend(root.read(&path)?);
            }
        }
        at = at.saturating_add(1);
    }
    Ok(())
}

/// The text of a file for a copy of it in another directory: its imports are absolute.
/// `replaced` is an imported file, or one that is to be imported, and the path to import instead.
pub(crate) fn with_absolute_imports(
    root: &NodeRoot,
    file: &TextFile,
    replaced: Option<(&Path, PathBuf)>,
) -> Result<String> {
    let mut imports = resolved(root, file)?;
    if imports.is_empty() && replaced.is_none() {
        return Ok(file.text.clone());
    }
    if let Some((path, instead)) = replaced {
        match imports.iter_mut().find(|import| *import == path) {
            Some(import) => *import = instead,
            None => imports.push(instead),
        }
    }
    containerd::with_imports(file, &imports)
}

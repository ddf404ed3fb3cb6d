//! The key `imports`.

use std::path::PathBuf;

use toml_edit::Item;

use crate::engine::edit::TextFile;
use crate::engine::format::tables;
use oci_apparmor::error::Result;

/// The imports of a file, as they are written there.
pub(crate) fn imports(file: &TextFile) -> Result<Vec<String>> {
    let document = tables::read(&file.path, &file.text)?;
    Ok(tables::texts(document.get("imports")))
}

/// The text of a file with these imports instead of its own.
pub(crate) fn with_imports(file: &TextFile, imports: &[PathBuf]) -> Result<String> {
    let mut document = tables::read(&file.path, &file.text)?;
    let paths = imports.iter().map(|path| path.to_string_lossy());
    document.insert("imports", Item::Value(tables::list(paths)));
    Ok(document.to_string())
}

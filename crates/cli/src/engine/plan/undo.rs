//! Undoing a change that the journal describes.

use crate::engine::edit::TextFile;
use crate::engine::files::ConfigFiles;
use crate::engine::journal::{DIRECTORY, Journal};
use crate::engine::kind::Engine;
use crate::engine::{diff, format};
use oci_apparmor::error::{Error, Kind, Result};

/// The text of the journal's file without the change; `None` if the file is to be removed. `now` is
/// its text, if it exists.
///
/// A file that was not changed since becomes what it was, byte for byte. Otherwise the changed lines
/// are undone where they are now; if that is not possible, the runtime is removed by its name.
pub(super) fn undo(
    engine: Engine,
    files: &ConfigFiles,
    journal: &Journal,
    now: Option<&str>,
) -> Result<Option<String>> {
    let Some(now) = now else {
        return Ok(None);
    };
    if journal.made_this(now) {
        return match journal.made {
            true => Ok(None),
            false => diff::reversed(now, &journal.hunks)
                .map(Some)
                .ok_or_else(|| mismatch(journal)),
        };
    }
    let file = |text: &str| TextFile {
        path: journal.file.clone(),
        text: text.to_owned(),
    };
    let without = |text: &str| {
        format::without(
            engine,
            &files.read,
            &file(text),
            &journal.runtime,
            journal.former_default.as_deref(),
        )
    };
    if !journal.made
        && let Some(text) = diff::reversed_elsewhere(now, &journal.hunks)
        && without(&text).is_ok_and(|left| left == text)
    {
        return Ok(Some(text));
    }
    let left = without(now)?;
    match journal.made && format::is_empty(engine, &file(&left))? {
        true => Ok(None),
        false => Ok(Some(left)),
    }
}

/// The error for a journal whose lines are not in a file that has the journal's digest.
fn mismatch(journal: &Journal) -> Error {
    Error::new(
        Kind::Configuration,
        format!(
            "the journal in {DIRECTORY} does not match {}",
            journal.file.display()
        ),
    )
    .with_remedy(format!("run: mv {DIRECTORY} {DIRECTORY}.broken"))
}

//! The plan of `unconfigure`.

use std::path::Path;

use crate::engine::edit::{HEADER, TextFile};
use crate::engine::files::ConfigFiles;
use crate::engine::format;
use crate::engine::journal::Journal;
use crate::engine::kind::Engine;
use crate::engine::plan::steps::{Plan, Step};
use crate::engine::plan::undo::undo;
use crate::engine::root::NodeRoot;
use oci_apparmor::error::Result;

/// Plans the change after which an engine does not call the wrapper any more. Without a journal,
/// the runtime `name` is removed.
///
/// # Errors
/// If a file cannot be read or parsed, or if the journal does not match it.
pub(crate) fn unconfigure(
    engine: Engine,
    root: &NodeRoot,
    main: &Path,
    name: &str,
) -> Result<Plan> {
    let files = ConfigFiles::gather(engine, root, main)?;
    let journal = Journal::load(root, engine, main)?;
    let mut steps = Vec::new();
    match &journal {
        Some(journal) => {
            let old = files.get(&journal.file).map(|f| f.text.clone());
            steps.push(Step {
                path: journal.file.clone(),
                new: undo(engine, &files, journal, old.as_deref())?,
                old,
                directories: journal.directories.clone(),
            });
        }
        None => {
            for file in files.read.iter().chain(&files.template) {
                steps.push(by_name(engine, &files, file, name)?);
            }
        }
    }
    steps.retain(|step| step.old != step.new);
    Ok(Plan {
        steps,
        program: journal.map(|journal| journal.program),
        replaces: None,
        notes: Vec::new(),
        removes: true,
        engine,
        main: main.to_owned(),
        journal: None,
    })
}

/// Removes the runtime `name` from a file, and the file if `configure` created it.
fn by_name(engine: Engine, files: &ConfigFiles, file: &TextFile, name: &str) -> Result<Step> {
    let left = TextFile {
        path: file.path.clone(),
        text: format::without(engine, &files.read, file, name, None)?,
    };
    let remove = file.text.starts_with(HEADER) && format::is_empty(engine, &left)?;
    Ok(Step {
        path: left.path,
        old: Some(file.text.clone()),
        new: Some(left.text).filter(|_| !remove),
        directories: Vec::new(),
    })
}

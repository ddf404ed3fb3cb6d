//! A plan: the files to write or remove, and the journal.

use std::path::PathBuf;

use crate::engine::diff;
use crate::engine::journal::Journal;
use crate::engine::kind::Engine;
use crate::engine::root::NodeRoot;
use oci_apparmor::error::Result;

/// One file to create, change or remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// The file, as the engine sees it.
    pub(crate) path: PathBuf,
    /// Its text now; `None` if it does not exist.
    pub(crate) old: Option<String>,
    /// Its new text; `None` to remove it.
    pub(crate) new: Option<String>,
    /// The directories that were created for it. They are removed with it if they are empty.
    pub(super) directories: Vec<PathBuf>,
}

impl Step {
    /// Writes or removes the file. Returns the directories that were created for it.
    fn apply(&self, root: &NodeRoot) -> Result<Vec<PathBuf>> {
        match &self.new {
            Some(text) => root.write(&self.path, self.old.as_deref(), text, 0o644),
            None => root
                .remove(&self.path, &self.directories)
                .map(|()| Vec::new()),
        }
    }

    /// The change as `diff -u` prints it.
    #[must_use]
    pub(crate) fn diff(&self, root: &NodeRoot) -> String {
        let name = |text: &Option<String>| match text {
            Some(_) => root.on_host(&self.path).display().to_string(),
            None => "/dev/null".to_owned(),
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (old, new) = (text(&self.old), text(&self.new));
        diff::unified(&name(&self.old), &name(&self.new), &old, &new)
    }
}

/// What to do for an engine.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The files that change; empty if the engine is configured as requested.
    pub(crate) steps: Vec<Step>,
    /// The wrapper's link that the engine will call, or called.
    pub(crate) program: Option<PathBuf>,
    /// The program that the engine calls now, as its configuration names it; `None` if it searches
    /// for one.
    pub(crate) replaces: Option<String>,
    /// What a person should know about the change.
    pub(crate) notes: Vec<String>,
    /// Whether a runtime is removed from the files.
    pub(crate) removes: bool,
    pub(super) engine: Engine,
    pub(super) main: PathBuf,
    /// The journal to write; `None` to remove it.
    pub(super) journal: Option<Journal>,
}

impl Plan {
    /// Carries it out.
    ///
    /// # Errors
    /// If a file cannot be written. Files that were not written yet stay as they are.
    pub(crate) fn apply(mut self, root: &NodeRoot) -> Result<()> {
        let Some(journal) = self.journal.as_mut().filter(|_| !self.steps.is_empty()) else {
            for step in &self.steps {
                step.apply(root)?;
            }
            // Without a step the journal stays true.
            return match self.journal {
                Some(_) => Ok(()),
                None => Journal::forget(root, self.engine, &self.main),
            };
        };
        // The journal is written first. If this process is killed in between, the journal names a
        // change that is not there, and unconfigure ignores it. The other way round, nothing could
        // undo the change.
        let before = Journal::load(root, self.engine, &self.main)?;
        journal.store(root, self.engine, &self.main)?;
        let mut untouched = true;
        for step in &self.steps {
            let made = match step.apply(root) {
                Ok(made) => made,
                Err(e) if untouched => {
                    let restored = match before {
                        Some(before) => before.store(root, self.engine, &self.main),
                        None => Journal::forget(root, self.engine, &self.main),
                    };
                    log::debug!("restored the journal: {restored:?}");
                    return Err(e);
                }
                Err(e) => return Err(e),
            };
            untouched = false;
            if journal.file == step.path && !made.is_empty() {
                journal.directories = made;
                journal.store(root, self.engine, &self.main)?;
            }
        }
        Ok(())
    }
}

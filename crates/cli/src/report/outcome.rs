//! What `load` reports: one row for each profile, and their sum.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::report::table::{self, Cell, Fit, Table, Tone, escaped};
use oci_apparmor::apparmor::loaded::Mode;
use oci_apparmor::error::{Error, Result};
use oci_apparmor::profiles::Action;

/// What happened to one profile, or to one file that cannot be used.
#[derive(Debug)]
pub(crate) struct ProfileOutcome {
    /// The profile, or the file.
    pub name: String,
    /// Its source.
    pub source: Option<PathBuf>,
    /// What happened.
    pub outcome: Outcome,
    mode: Option<Mode>,
}

/// What can happen to a profile.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was not in the kernel, or the kernel does not tell what it held.
    Loaded,
    /// It differed from its source; how.
    Reloaded(String),
    /// It was as its source says.
    Unchanged,
    /// This node has disabled it; where.
    Disabled(String),
    /// It is not loaded.
    Failed(Error),
}

/// Counts of outcomes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sum {
    loaded: usize,
    unchanged: usize,
    disabled: usize,
    failed: usize,
}

impl ProfileOutcome {
    /// The row of a profile that this node has disabled.
    pub(crate) fn disabled(name: &str, source: Option<PathBuf>, why: &str) -> Self {
        Self {
            name: name.to_owned(),
            source,
            outcome: Outcome::Disabled(why.to_owned()),
            mode: None,
        }
    }

    /// The row of what was done.
    pub(crate) fn of(name: &str, source: Option<PathBuf>, done: Result<(Mode, Action)>) -> Self {
        let (outcome, mode) = match done {
            Ok((mode, Action::None)) => (Outcome::Unchanged, Some(mode)),
            Ok((mode, Action::Loaded)) => (Outcome::Loaded, Some(mode)),
            Ok((mode, Action::Reloaded(why))) => (Outcome::Reloaded(why.to_string()), Some(mode)),
            Err(e) => (Outcome::Failed(e), None),
        };
        Self {
            name: name.to_owned(),
            source,
            outcome,
            mode,
        }
    }

    /// One line about it, for the journal.
    pub(crate) fn line(&self) -> String {
        let outcome = match &self.outcome {
            Outcome::Loaded => "loaded".to_owned(),
            Outcome::Reloaded(why) => format!("reloaded: {why}"),
            Outcome::Unchanged => "unchanged".to_owned(),
            Outcome::Disabled(why) => format!("disabled: {why}"),
            Outcome::Failed(e) => format!("failed: {e}"),
        };
        let mode = match self.mode {
            Some(mode) if !mode.enforces() => format!(" ({mode} mode)"),
            _ => String::new(),
        };
        escaped(&format!("{}: {outcome}{mode}", self.name))
    }

    /// What `--json` prints of it.
    pub(crate) fn shown(&self) -> LoadedJson<'_> {
        let (outcome, _) = self.outcome.word();
        LoadedJson {
            name: &self.name,
            source: self.source.as_deref(),
            outcome,
            why: match &self.outcome {
                Outcome::Loaded | Outcome::Unchanged => None,
                Outcome::Reloaded(why) | Outcome::Disabled(why) => Some(why.clone()),
                Outcome::Failed(e) => Some(e.to_string()),
            },
            mode: self.mode,
        }
    }

    fn row(&self) -> table::Row {
        let (word, tone) = self.outcome.word();
        let mode = self.mode.map(|mode| mode.to_string());
        let mode = match self.mode.is_none_or(Mode::enforces) {
            true => Cell::or_dash(mode),
            false => Cell::new(mode.unwrap_or_default(), Tone::Warning),
        };
        let (why, remedy) = match &self.outcome {
            Outcome::Loaded | Outcome::Unchanged => (None, None),
            Outcome::Reloaded(why) | Outcome::Disabled(why) => (Some(why.clone()), None),
            Outcome::Failed(e) => (Some(e.without_remedy()), e.remedy()),
        };
        let why = Cell::from(why.unwrap_or_default());
        let name = Cell::from(&self.name);
        let mut row = table::Row::new([name, Cell::new(word, tone), mode, why]);
        if let Some(remedy) = remedy {
            row.remedy(remedy);
        }
        row
    }
}

impl Outcome {
    fn word(&self) -> (&'static str, Tone) {
        match self {
            Self::Loaded => ("loaded", Tone::Good),
            Self::Reloaded(_) => ("reloaded", Tone::Good),
            Self::Unchanged => ("unchanged", Tone::Good),
            Self::Disabled(_) => ("disabled", Tone::Warning),
            Self::Failed(_) => ("failed", Tone::Bad),
        }
    }
}

/// What `--json` prints of a profile.
#[derive(Debug, Serialize)]
pub(crate) struct LoadedJson<'r> {
    name: &'r str,
    source: Option<&'r Path>,
    outcome: &'static str,
    why: Option<String>,
    mode: Option<Mode>,
}

/// All rows, for people.
pub(crate) fn table(rows: &[ProfileOutcome]) -> Table {
    let mut table = Table::new(&[
        ("PROFILE", Fit::Wrap),
        ("RESULT", Fit::Whole),
        ("MODE", Fit::Whole),
        ("REASON", Fit::Wrap),
    ]);
    for row in rows {
        table.push(row.row());
    }
    table
}

impl Sum {
    pub(crate) fn of(rows: &[ProfileOutcome]) -> Self {
        let mut sum = Self::default();
        for row in rows {
            let count = match row.outcome {
                Outcome::Loaded | Outcome::Reloaded(_) => &mut sum.loaded,
                Outcome::Unchanged => &mut sum.unchanged,
                Outcome::Disabled(_) => &mut sum.disabled,
                Outcome::Failed(_) => &mut sum.failed,
            };
            *count = count.saturating_add(1);
        }
        sum
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            loaded,
            unchanged,
            disabled,
            failed,
        } = self;
        write!(f, "{loaded} loaded, {unchanged} unchanged, {failed} failed")?;
        match disabled {
            0 => Ok(()),
            n => write!(f, ", {n} disabled"),
        }
    }
}

//! `load NAME… | --all`: what the sources say, brought into the kernel.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::print;
use oci_apparmor::apparmor::kernel;
use oci_apparmor::apparmor::loaded::Mode;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::{Error, Kind, Result, foreign};
use oci_apparmor::node::Node;
use oci_apparmor::profiles::source::listing::{self, Listed};
use oci_apparmor::profiles::{Action, Reload, Source, Store};
use oci_apparmor::settings::{self};

/// What became of one profile, or of one file that is none.
#[derive(Debug)]
pub(crate) struct Row {
    /// The profile, or the file.
    pub(crate) name: String,
    /// Its source.
    pub(crate) source: Option<PathBuf>,
    /// What happened.
    pub(crate) outcome: Outcome,
    mode: Option<Mode>,
}

/// What can become of a profile.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was not in the kernel, or that could not be told.
    Loaded,
    /// It was there, and not as its source says; why.
    Reloaded(String),
    /// Nothing had to be done.
    Right,
    /// This node has disabled it; where.
    Disabled(String),
    /// It is not loaded.
    Failed(Error),
}

/// Counts of outcomes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sum {
    loaded: usize,
    right: usize,
    disabled: usize,
    failed: usize,
}

pub(crate) fn run(names: &[String], as_json: bool) -> Result<u8> {
    let node = Node::load()?;
    if let Err(why) = kernel::may_load() {
        return Err(
            Error::new(Kind::Policy, format!("nothing can be loaded: {why}"))
                .with_remedy("run it as root on the host"),
        );
    }
    if let Some(off) = Store::new(&node).unavailable() {
        return Err(off);
    }
    let progress = Progress::new();
    let tell = |row: &Row| match as_json {
        true => Ok(()),
        false => {
            progress.clear();
            print(&format!("{}\n", row.line()))
        }
    };
    let go_on = || true;
    let rows = match names {
        [] => all(&node, Reload::Always, &progress, go_on, tell)?,
        names => named(&node, names, &progress, tell)?,
    };
    progress.clear();
    print(&match as_json {
        true => format!("{:#}\n", Value::from_iter(rows.iter().map(Row::to_json))),
        false => format!("{}\n", Sum::of(&rows)),
    })?;
    let failed = rows.iter().find_map(|row| match &row.outcome {
        Outcome::Failed(e) => Some(e.kind().exit_code()),
        _ => None,
    });
    Ok(failed.unwrap_or(0))
}

/// Loads the profiles of these names, whatever the kernel holds.
fn named(
    node: &Node,
    names: &[String],
    progress: &Progress,
    tell: impl Fn(&Row) -> Result<()>,
) -> Result<Vec<Row>> {
    let store = Store::new(node);
    let mut rows = Vec::new();
    for (done, text) in names.iter().enumerate() {
        progress.show(done, names.len(), text);
        let row = match ProfileName::parse(text) {
            Ok(name) => {
                let source = Source::of(&name, &node.settings)
                    .ok()
                    .flatten()
                    .map(|s| s.path);
                Row::of(
                    text,
                    source,
                    store.load(&name, Reload::Always).map(|(l, c)| (l.mode, c)),
                )
            }
            Err(e) => Row::of(&foreign(text), None, Err(e)),
        };
        tell(&row)?;
        rows.push(row);
    }
    Ok(rows)
}

/// Loads all sources that are ours, and of the others' those whose profiles are missing, as long
/// as `go_on` says so. Each is told of when it is done.
pub(crate) fn all(
    node: &Node,
    reload: Reload,
    progress: &Progress,
    go_on: impl Fn() -> bool,
    tell: impl Fn(&Row) -> Result<()>,
) -> Result<Vec<Row>> {
    let settings = &node.settings;
    let store = Store::new(node);
    let listing = listing::sources(settings);
    let mut rows = Vec::new();
    let mut keep = |row: Row| {
        tell(&row)?;
        rows.push(row);
        Ok::<(), Error>(())
    };
    for (path, e) in listing.unusable {
        keep(Row::of(
            &foreign(&path.display().to_string()),
            Some(path),
            Err(e),
        ))?;
    }
    let total = listing.profiles.len();
    for (done, listed) in listing.profiles.iter().enumerate() {
        if !go_on() {
            return Ok(rows);
        }
        progress.show(done, total, listed.name.as_str());
        keep(one(&store, listed, reload))?;
    }
    // What the settings name must be there, from wherever.
    for name in listing::named(settings) {
        if matches!(Source::of(name, settings), Ok(None)) {
            let here = store.loaded(name).and_then(|loaded| match loaded {
                Some(loaded) => Ok((loaded.mode, Action::None)),
                None => Err(oci_apparmor::wanted::missing(
                    name,
                    settings::PATH,
                    settings,
                )),
            });
            keep(Row::of(name.as_str(), None, here))?;
        }
    }
    Ok(rows)
}

/// Loads what of all this is not in the kernel, for whatever reason, as far as it is `wanted`;
/// what is there is not judged.
pub(crate) fn missing(node: &Node, wanted: impl Fn(&str) -> bool) -> Result<Vec<Row>> {
    let store = Store::new(node);
    let mut rows = Vec::new();
    for listed in &listing::sources(&node.settings).profiles {
        let Listed { name, source } = listed;
        if source.disabled.is_none() && !store.is_complete(name)? && wanted(name.as_str()) {
            rows.push(one(&store, listed, Reload::AsConfigured));
        }
    }
    Ok(rows)
}

/// One of all. What is loaded from a directory that is not ours belongs to whoever loaded it.
fn one(store: &Store<'_>, listed: &Listed, reload: Reload) -> Row {
    let Listed { name, source } = listed;
    let path = Some(source.path.clone());
    if let Some(why) = &source.disabled {
        return Row {
            name: name.to_string(),
            source: path,
            outcome: Outcome::Disabled(why.to_string()),
            mode: None,
        };
    }
    let left = match !source.ours || store.is_up_to_date(name, source) {
        true => store.loaded(name),
        false => Ok(None),
    };
    let done = left.and_then(|left| match left {
        Some(loaded) => Ok((loaded.mode, Action::None)),
        None => store
            .load(name, reload)
            .map(|(loaded, change)| (loaded.mode, change)),
    });
    Row::of(name.as_str(), path, done)
}

impl Row {
    fn of(name: &str, source: Option<PathBuf>, done: Result<(Mode, Action)>) -> Self {
        let (outcome, mode) = match done {
            Ok((mode, Action::None)) => (Outcome::Right, Some(mode)),
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

    /// One line about it.
    pub(crate) fn line(&self) -> String {
        let outcome = match &self.outcome {
            Outcome::Loaded => "loaded".to_owned(),
            Outcome::Reloaded(why) => format!("reloaded: {why}"),
            Outcome::Right => "already right".to_owned(),
            Outcome::Disabled(why) => format!("disabled: {why}"),
            Outcome::Failed(e) => format!("failed: {e}"),
        };
        let mode = match self.mode {
            Some(mode) if !mode.enforces() => format!(" ({mode} mode)"),
            _ => String::new(),
        };
        format!("{}: {outcome}{mode}", self.name)
    }

    fn to_json(&self) -> Value {
        let (outcome, why) = match &self.outcome {
            Outcome::Loaded => ("loaded", None),
            Outcome::Reloaded(why) => ("reloaded", Some(why.clone())),
            Outcome::Right => ("right", None),
            Outcome::Disabled(why) => ("disabled", Some(why.clone())),
            Outcome::Failed(e) => ("failed", Some(e.to_string())),
        };
        json!({
            "name": self.name,
            "source": self.source,
            "outcome": outcome,
            "why": why,
            "mode": self.mode,
        })
    }
}

impl Sum {
    pub(crate) fn of(rows: &[Row]) -> Self {
        let mut sum = Self::default();
        for row in rows {
            let count = match row.outcome {
                Outcome::Loaded | Outcome::Reloaded(_) => &mut sum.loaded,
                Outcome::Right => &mut sum.right,
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
            right,
            disabled,
            failed,
        } = self;
        write!(f, "{loaded} loaded, {right} already right, {failed} failed")?;
        match disabled {
            0 => Ok(()),
            n => write!(f, ", {n} disabled"),
        }
    }
}

/// How far it has come, for a person at a terminal.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    seen: bool,
}

impl Progress {
    fn new() -> Self {
        Self {
            seen: std::io::stderr().is_terminal(),
        }
    }

    /// Shows what is worked on, after `done` others.
    fn show(&self, done: usize, total: usize, name: &str) {
        // One is no long work.
        if total > 1 {
            self.write(&format!(
                "{}/{total} {}",
                done.saturating_add(1),
                foreign(name)
            ));
        }
    }

    fn clear(&self) {
        self.write("");
    }

    fn write(&self, text: &str) {
        if self.seen {
            // Back to the line's start, and what was there is erased.
            let _ = std::io::stderr().write_all(format!("\r\x1b[K{text}").as_bytes());
        }
    }
}

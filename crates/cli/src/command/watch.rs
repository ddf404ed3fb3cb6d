//! `load --all --watch`: loads all sources, again whenever they change, until SIGTERM; and missing
//! profiles whenever the kernel's policy changes.
//!
//! oci-apparmor-preload.service runs this. Only a signal ends it, or a kernel that takes no policy.
//! A broken source or configuration is reported, and read again when it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::command::load;
use crate::report::outcome::{Outcome, ProfileOutcome, Sum};
use crate::report::output::Output;
use crate::watch::files::SourceFiles;
use crate::watch::notify;
use crate::watch::revision::PolicyRevision;
use crate::watch::wakeup::{Signals, Wakeup};
use oci_apparmor::apparmor::kernel::Kernel;
use oci_apparmor::containers::removed::{self, RemovedProfile};
use oci_apparmor::error::{Error, Result};
use oci_apparmor::node::Node;
use oci_apparmor::profiles::{Reload, Store};

/// How often all sources are checked where changes cannot be watched.
const LOOK: Duration = Duration::from_secs(30);

/// How long to wait after a missing profile was loaded: at first, and at most. If another program
/// keeps removing it, neither may use all of the processor.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

pub(crate) fn run(output: Output) -> Result<u8> {
    load::may_load()?;
    let signals = Signals::catch()?;
    let mut known = Reported::new(output);
    let kernel = Kernel::default();
    let mut policy = PolicyRevision::of(&kernel);
    let mut pace = Pace::default();
    loop {
        // Read before the sources, so that what changes meanwhile is seen.
        policy.has_changed();
        let node = Node::load();
        let files = SourceFiles::watch(node.as_ref().ok().map(|node| &node.settings));
        let sum = match &node {
            Ok(node) => known.load(node, &signals)?,
            Err(e) => {
                known.failed(&e.to_string());
                e.to_string()
            }
        };
        // Units that are ordered after this one start now, whatever failed: a profile is tried again
        // when a container needs it. Later notifications only change the status.
        notify::tell(&format!("READY=1\nSTATUS={sum}"));
        known.blind(files.blind.as_ref());
        known.lost(&kernel);
        loop {
            match next(&files, &signals, &mut policy, &pace)? {
                Wakeup::End => {
                    notify::tell("STOPPING=1");
                    return Ok(0);
                }
                Wakeup::Files => break,
                Wakeup::Kernel | Wakeup::Nothing => {
                    let loaded = match &node {
                        Ok(node) => known.missing(node, &signals)?,
                        Err(_) => false,
                    };
                    pace.after(loaded);
                    known.lost(&kernel);
                }
            }
        }
    }
}

/// Waits for something to do.
fn next(
    files: &SourceFiles,
    signals: &Signals,
    policy: &mut PolicyRevision,
    pace: &Pace,
) -> Result<Wakeup> {
    match signals.next() {
        Wakeup::Nothing => {}
        event => return Ok(event),
    }
    let begun = Instant::now();
    loop {
        let rest = pace.rest();
        let look = (files.blind.is_some() || !policy.tells())
            .then(|| LOOK.saturating_sub(begun.elapsed()));
        let limit = rest.into_iter().chain(look).min();
        let followed = if rest.is_none() {
            Some(&mut *policy)
        } else {
            None
        };
        match files.wait(signals, followed, limit)? {
            Wakeup::Nothing if look.is_some() && begun.elapsed() >= LOOK => {
                return Ok(Wakeup::Files);
            }
            Wakeup::Nothing => {}
            event => return files.settle(event, signals),
        }
    }
}

/// How soon to react to the kernel's next change.
#[derive(Debug, Default)]
struct Pace {
    pause: Duration,
    until: Option<Instant>,
}

impl Pace {
    /// Missing profiles were loaded, or none was missing.
    fn after(&mut self, loaded: bool) {
        self.pause = match loaded {
            true => self.pause.saturating_mul(2).clamp(PAUSE, LONGEST_PAUSE),
            false => Duration::ZERO,
        };
        self.until = loaded
            .then(|| Instant::now().checked_add(self.pause))
            .flatten();
    }

    /// How long to wait from now on, if at all.
    fn rest(&self) -> Option<Duration> {
        let rest = self.until?.saturating_duration_since(Instant::now());
        (!rest.is_zero()).then_some(rest)
    }
}

/// What was reported, so that it is reported again only when it changes.
#[derive(Debug)]
struct Reported {
    output: Output,
    /// How each profile failed.
    failed: BTreeMap<String, ReportedFailure>,
    sum: Option<String>,
    configuration: Option<String>,
    /// Why files are not watched.
    blind: Option<String>,
    /// Containers that have lost a profile.
    lost: BTreeSet<RemovedProfile>,
}

impl Reported {
    fn new(output: Output) -> Self {
        Self {
            output,
            failed: BTreeMap::new(),
            sum: None,
            configuration: None,
            blind: None,
            lost: BTreeSet::new(),
        }
    }

    /// Loads all, and reports what is new. Returns the counts.
    fn load(&mut self, node: &Node, signals: &Signals) -> Result<String> {
        self.configuration = None;
        let store = Store::new(node);
        if let Some(off) = store.unavailable() {
            return Err(off);
        }
        let output = self.output;
        let before = std::mem::take(&mut self.failed);
        let tell = |row: &ProfileOutcome| match &row.outcome {
            Outcome::Unchanged | Outcome::Disabled(_) => Ok(()),
            Outcome::Loaded | Outcome::Reloaded(_) => output.line(row.line()),
            Outcome::Failed(_) if before.get(&row.name) == Some(&failure(row)) => Ok(()),
            Outcome::Failed(_) => {
                complain(&row.line());
                Ok(())
            }
        };
        // No person supervises it, so it may do no more than the start of a container does.
        let step = |_, _, _: &str| !signals.ends();
        let rows = load::all(&store, &node.settings, Reload::AsConfigured, step, tell)?;
        let failed = rows
            .iter()
            .filter(|r| matches!(r.outcome, Outcome::Failed(_)));
        self.failed = failed.map(|row| (row.name.clone(), failure(row))).collect();
        let sum = Sum::of(&rows).to_string();
        if self.sum.as_ref() != Some(&sum) {
            output.line(&sum)?;
        }
        self.sum = Some(sum.clone());
        Ok(sum)
    }

    /// Loads again what was removed from the kernel, and tells whether there was anything. What
    /// failed before is tried again when its file changes, or when a container needs it.
    fn missing(&mut self, node: &Node, signals: &Signals) -> Result<bool> {
        let store = Store::new(node);
        if let Some(off) = store.unavailable() {
            return Err(off);
        }
        let wanted = |name: &str| !self.failed.contains_key(name) && !signals.ends();
        let rows = load::missing(&store, &node.settings, wanted)?;
        for row in &rows {
            match row.outcome {
                Outcome::Failed(_) => {
                    complain(&row.line());
                    self.failed.insert(row.name.clone(), failure(row));
                }
                _ => self.output.line(row.line())?,
            }
        }
        Ok(!rows.is_empty())
    }

    /// Reports containers that have lost a profile, each once.
    fn lost(&mut self, kernel: &Kernel) {
        let lost = match removed::all(kernel) {
            Ok(lost) => BTreeSet::from_iter(lost),
            Err(e) => return complain(&e.to_string()),
        };
        for one in lost.difference(&self.lost) {
            complain(&format!(
                "container {} runs without the profile {}, which was removed from the kernel; \
                 restart the container",
                one.id, one.profile
            ));
        }
        self.lost = lost;
    }

    /// Reports once that changes of files cannot be seen.
    fn blind(&mut self, why: Option<&Error>) {
        let why = why.map(|e| format!("{e}; all sources are checked every {} s", LOOK.as_secs()));
        if let Some(why) = why.as_ref().filter(|why| self.blind.as_ref() != Some(why)) {
            complain(why);
        }
        self.blind = why;
    }

    fn failed(&mut self, configuration: &str) {
        if self.configuration.as_deref() != Some(configuration) {
            complain(configuration);
            self.configuration = Some(configuration.to_owned());
        }
    }
}

/// What was reported of a failure, with the inode and the time of change of its file then.
type ReportedFailure = (String, Option<(u64, i64, i64)>);

fn failure(row: &ProfileOutcome) -> ReportedFailure {
    let meta = row.source.as_ref().and_then(|path| fs::metadata(path).ok());
    let stamp = meta.map(|m| (m.ino(), m.ctime(), m.ctime_nsec()));
    (row.line(), stamp)
}

/// Reports it on standard error; to the journal as an error (sd-daemon(3)).
fn complain(line: &str) {
    let priority = match env::var_os("JOURNAL_STREAM") {
        Some(_) => "<3>",
        None => "",
    };
    let _ = std::io::stderr().write_all(format!("{priority}oci-apparmor: {line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_removals_are_answered_ever_more_slowly() {
        let mut pace = Pace::default();
        assert_eq!(pace.rest(), None);
        let pauses = (0..8).map(|_| {
            pace.after(true);
            assert!(pace.rest().is_some_and(|rest| rest <= pace.pause));
            pace.pause.as_secs()
        });
        assert_eq!(Vec::from_iter(pauses), [1, 2, 4, 8, 16, 32, 60, 60]);
        pace.after(false);
        assert_eq!(pace.rest(), None);
        pace.after(true);
        assert_eq!(pace.pause, PAUSE);
    }
}

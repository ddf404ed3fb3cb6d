//! `load --all --watch`: all sources, and again whenever they change, until SIGTERM; and what is
//! missing, whenever the kernel's policy changes.
//!
//! This is what oci-apparmor-preload.service runs. Nothing here ends it but a signal, or a kernel
//! that takes no policy: a source or a configuration that is broken is reported, and looked at
//! again when it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use crate::command::load::{self, Outcome, Progress, Row, Sum};
use crate::print;
use crate::watch::files::SourceFiles;
use crate::watch::notify;
use crate::watch::revision::PolicyRevision;
use crate::watch::wakeup::{Signals, Wakeup};
use oci_apparmor::apparmor::kernel::{self, Kernel};
use oci_apparmor::containers::removed::{self, RemovedProfile};
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::node::Node;
use oci_apparmor::profiles::{Reload, Store};

/// How often all is looked at where changes cannot be seen as they happen.
const LOOK: Duration = Duration::from_secs(30);

/// How long the kernel is left alone after something was loaded because it was missing: at first,
/// and at most. Where another program keeps removing it, neither may take all the processor.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

pub(crate) fn run() -> Result<u8> {
    if let Err(why) = kernel::may_load() {
        return Err(
            Error::new(Kind::Policy, format!("nothing can be loaded: {why}"))
                .with_remedy("run it as root on the host"),
        );
    }
    let signals = Signals::catch()?;
    let mut known = Reported::default();
    let mut policy = PolicyRevision::of(&Kernel::default());
    let mut pace = Pace::default();
    loop {
        // Before it is looked: what changes meanwhile is then seen.
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
        // Those who wait for this wait no longer, whatever failed: a profile that is needed is
        // tried again when its container is made. Later ones only change the status.
        notify::tell(&format!("READY=1\nSTATUS={sum}"));
        known.blind(files.blind.as_ref());
        known.lost(&Kernel::default());
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
                    known.lost(&Kernel::default());
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

/// How soon the kernel's next change is looked at.
#[derive(Debug, Default)]
struct Pace {
    pause: Duration,
    until: Option<Instant>,
}

impl Pace {
    /// After what was missing was loaded, or nothing was missing.
    fn after(&mut self, loaded: bool) {
        self.pause = match loaded {
            true => self.pause.saturating_mul(2).clamp(PAUSE, LONGEST_PAUSE),
            false => Duration::ZERO,
        };
        self.until = loaded
            .then(|| Instant::now().checked_add(self.pause))
            .flatten();
    }

    /// How long it is left alone from now on, if at all.
    fn rest(&self) -> Option<Duration> {
        let rest = self.until?.saturating_duration_since(Instant::now());
        (!rest.is_zero()).then_some(rest)
    }
}

/// What was said, so that it is said again only when there is a reason.
#[derive(Debug, Default)]
struct Reported {
    /// Of each profile that failed, how.
    failed: BTreeMap<String, Failure>,
    sum: Option<String>,
    configuration: Option<String>,
    /// Why files are not watched.
    blind: Option<String>,
    /// Containers that have lost a profile.
    lost: BTreeSet<RemovedProfile>,
}

impl Reported {
    /// Loads all, and tells what is new. Returns the counts.
    fn load(&mut self, node: &Node, signals: &Signals) -> Result<String> {
        self.configuration = None;
        if let Some(off) = Store::new(node).unavailable() {
            return Err(off);
        }
        let before = std::mem::take(&mut self.failed);
        let tell = |row: &Row| match &row.outcome {
            Outcome::Right | Outcome::Disabled(_) => Ok(()),
            Outcome::Loaded | Outcome::Reloaded(_) => print(&format!("{}\n", row.line())),
            Outcome::Failed(_) if before.get(&row.name) == Some(&failure(row)) => Ok(()),
            Outcome::Failed(_) => {
                complain(&row.line());
                Ok(())
            }
        };
        // Nobody looks at what it does, so it may do no more than the start of a container.
        let (reload, progress) = (Reload::AsConfigured, Progress::default());
        let rows = load::all(node, reload, &progress, || !signals.ends(), tell)?;
        let failed = rows
            .iter()
            .filter(|r| matches!(r.outcome, Outcome::Failed(_)));
        self.failed = failed.map(|row| (row.name.clone(), failure(row))).collect();
        let sum = Sum::of(&rows).to_string();
        if self.sum.as_ref() != Some(&sum) {
            print(&format!("{sum}\n"))?;
        }
        self.sum = Some(sum.clone());
        Ok(sum)
    }

    /// Loads again what the kernel has lost; whether there was something. What failed before is
    /// left to a change of its file, and to the containers that need it.
    fn missing(&mut self, node: &Node, signals: &Signals) -> Result<bool> {
        if let Some(off) = Store::new(node).unavailable() {
            return Err(off);
        }
        let wanted = |name: &str| !self.failed.contains_key(name) && !signals.ends();
        let rows = load::missing(node, wanted)?;
        for row in &rows {
            match row.outcome {
                Outcome::Failed(_) => {
                    complain(&row.line());
                    self.failed.insert(row.name.clone(), failure(row));
                }
                _ => print(&format!("{}\n", row.line()))?,
            }
        }
        Ok(!rows.is_empty())
    }

    /// Tells of containers that have lost a profile, each once.
    fn lost(&mut self, kernel: &Kernel) {
        let lost = match removed::all(kernel) {
            Ok(lost) => BTreeSet::from_iter(lost),
            Err(e) => return complain(&e.to_string()),
        };
        for one in lost.difference(&self.lost) {
            complain(&format!(
                "container {}: the profile {} was removed from the kernel, and what runs in the \
                 container runs without it; restart the container",
                one.id, one.profile
            ));
        }
        self.lost = lost;
    }

    /// Tells that changes of files cannot be seen, once.
    fn blind(&mut self, why: Option<&Error>) {
        let why = why.map(|e| format!("{e}; all is looked at every {} s", LOOK.as_secs()));
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

/// What was said of a failure, and the inode and the time of change of its file then.
type Failure = (String, Option<(u64, i64, i64)>);

fn failure(row: &Row) -> Failure {
    let meta = row.source.as_ref().and_then(|path| fs::metadata(path).ok());
    let stamp = meta.map(|m| (m.ino(), m.ctime(), m.ctime_nsec()));
    (row.line(), stamp)
}

/// Says it on standard error; to the journal as an error (sd-daemon(3)).
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
    fn who_keeps_removing_is_answered_ever_more_slowly() {
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

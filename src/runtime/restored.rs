//! A container that a runtime restores: its label is checked, or what is left of it is removed.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use crate::containers::processes::{EarlierGroups, ProcessSet};
use crate::containers::record::Record;
use crate::containers::{labels, records, runtime_state};
use crate::counters::{self, Counter};
use crate::error::{Error, Kind, Result};
use crate::node::Node;
use crate::report;
use crate::runtime::kill;
use crate::runtime::locate::RuntimeProgram;

const DELETED: &str =
    "it was killed and deleted; create a new container instead of restoring this one";

/// A container that a runtime restores, or has failed to restore.
#[derive(Debug)]
pub(super) struct RestoredContainer<'r> {
    runtime: &'r RuntimeProgram,
    deletion: &'r [OsString],
    record: &'r Record,
    /// The control groups with its id that had processes before.
    earlier: EarlierGroups,
}

impl<'r> RestoredContainer<'r> {
    /// To be called before the runtime is.
    ///
    /// # Errors
    /// If its processes could not be told from those of other containers later.
    pub(super) fn expected(
        runtime: &'r RuntimeProgram,
        deletion: &'r [OsString],
        record: &'r Record,
    ) -> Result<Self> {
        let earlier = EarlierGroups::of(&record.id)
            .map_err(|e| Error::io("read the processes in", Path::new("/proc"), &e))?;
        Ok(Self {
            runtime,
            deletion,
            record,
            earlier,
        })
    }

    /// Checks that every thread of the container with this first process has the label.
    ///
    /// If the first process has ended, others may go on where the container has no process namespace of
    /// its own. They are those in its control groups.
    ///
    /// # Errors
    /// If one has another label, or cannot be checked.
    pub(super) fn check(&self, first: u32, node: &Node) -> Result<()> {
        let id = &self.record.id;
        let processes = match ProcessSet::of(first, id) {
            Ok(set) if set.is_without_first() => ProcessSet::since(&self.earlier, id),
            found => found,
        };
        labels::check_all_threads(processes, self.record, node)
    }

    /// For a restore whose caller was killed: keeps the container if every thread has the label, and
    /// kills and deletes it otherwise.
    ///
    /// # Errors
    /// If it was killed.
    pub(super) fn settle(&self, node: &Node) -> Result<()> {
        let interrupted = || Error::new(Kind::Internal, "the restore was interrupted");
        // The engine may have deleted the container and created another one with its id. A runtime
        // that went on has then not written its state, and its processes belong to no container.
        if records::is_outdated(self.record) {
            let is_another = self.has_state();
            if is_another || !self.exists() {
                return Ok(());
            }
            let killed = self.processes().is_ok_and(|processes| processes.kill());
            return Err(interrupted().with_remedy(self.remedy(killed)));
        }
        let why = match self.first_process() {
            Some(pid) => match self.check(pid, node) {
                Ok(()) => return Ok(()),
                Err(why) => why,
            },
            None if self.exists() => interrupted(),
            None => return records::forget(self.record),
        };
        Err(self.refuse(why).1)
    }

    /// Kills and deletes it. Returns whether it is gone, and the error to report.
    pub(super) fn refuse(&self, why: Error) -> (bool, Error) {
        if why.kind() == Kind::Policy {
            counters::count(Counter::LabelViolation);
        }
        let gone = self.kill_and_delete();
        (gone, why.with_remedy(self.remedy(gone)))
    }

    /// Kills and deletes what a failed runtime has left; whether nothing is left.
    pub(super) fn clean_up(&self) -> bool {
        if self.exists() {
            return self.kill_and_delete();
        }
        if let Err(e) = records::forget(self.record) {
            report::notice(&e.to_string());
        }
        true
    }

    fn kill_and_delete(&self) -> bool {
        kill::kill_and_delete(self.runtime, self.deletion, self.processes(), self.record)
    }

    fn remedy(&self, gone: bool) -> String {
        match gone {
            true => DELETED.to_owned(),
            false => kill::not_deleted(self.runtime, self.record),
        }
    }

    /// Whether state or processes of it exist, or may exist.
    fn exists(&self) -> bool {
        self.has_state()
            || self
                .processes()
                .and_then(|processes| processes.list())
                .map_or(true, |list| !list.is_empty())
    }

    fn has_state(&self) -> bool {
        runtime_state::exists(self.record.container_key()).unwrap_or(true)
    }

    fn processes(&self) -> io::Result<ProcessSet> {
        match self.first_process() {
            Some(pid) => ProcessSet::of(pid, &self.record.id),
            None => ProcessSet::since(&self.earlier, &self.record.id),
        }
    }

    /// Its first process according to the runtime's state. The file of `--pid-file` may be that of an
    /// earlier container.
    fn first_process(&self) -> Option<u32> {
        let state = runtime_state::read(self.runtime.kind, self.record.container_key());
        state.ok()?.and_then(|state| state.pid)
    }
}

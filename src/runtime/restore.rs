//! `restore`: CRIU only rewrites a label that was dumped. An image that was dumped unconfined is
//! restored unconfined whatever `--lsm-profile` says (`criu/cr-restore.c`), so every thread is
//! looked at before the engine hears of success.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use crate::containers::members::{self, Group, Members};
use crate::containers::record::{self, Record};
use crate::containers::{labels, runtime_state};
use crate::error::{Error, Kind, Result};
use crate::node::Node;
use crate::report;
use crate::runtime::argv::Line;
use crate::runtime::locate::Located;
use crate::runtime::verify::{self, NOT_PUT_DOWN};
use crate::runtime::{Next, command, exit_code, watch};

const REMEDY: &str = "it was killed; start a new container instead of restoring this one";

/// Refuses what cannot be verified, before anything is changed.
pub(super) fn can_be_verified(line: &Line) -> Result<()> {
    if line.has("detach") && line.option("pid-file").is_some() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Policy,
        "the labels of a restored container can only be verified with --detach and --pid-file",
    )
    .with_remedy("add both"))
}

/// Restores the container, and kills it again if any thread of it lacks the label.
pub(super) fn carry_out(
    runtime: &Located,
    line: &Line,
    record: &Record,
    node: &Node,
) -> Result<Next> {
    let (words, deletion) = (line.words(), line.deletion());
    let prepared = (|| {
        let restored = Restored::expected(runtime, &deletion, record)?;
        // It takes over where we are killed: by our engine's deadline, for instance, which CRIU
        // can well exceed.
        Ok((restored, watch::beside_us(runtime, line, record, &words)?))
    })();
    let (restored, watcher) = match prepared {
        Ok(prepared) => prepared,
        Err(e) => {
            record::forget(record)?;
            return Err(e);
        }
    };
    let code = exit_code(command(runtime, &words).status(), &runtime.program, || {
        !record.root.join(&record.id).exists()
    });
    let (gone, done) = match code {
        Ok(0) => {
            let pid_file = line.option("pid-file").unwrap_or(OsStr::new(""));
            let first = verify::first_process(Path::new(pid_file));
            match first.and_then(|pid| labels::all_hold(pid, record, node)) {
                Ok(()) => (true, Ok(Next::Done(0))),
                Err(why) => restored.refused(why),
            }
        }
        // A runtime can fail when there are processes already: crun notes them down too late. Why
        // it failed it has said itself.
        Ok(code) => (restored.cleared(), Ok(Next::Done(code))),
        // It may be at work still.
        Err(e) => (false, Err(e)),
    };
    // Otherwise it goes on trying.
    if gone {
        watcher.dismiss();
    }
    done
}

/// A container that a runtime restores, or has failed to.
pub(super) struct Restored<'r> {
    runtime: &'r Located,
    deletion: &'r [OsString],
    record: &'r Record,
    /// The control groups of its name that others were in before.
    before: BTreeSet<Group>,
}

impl<'r> Restored<'r> {
    /// One that a runtime is about to restore.
    ///
    /// # Errors
    /// Where it could not be told from others then.
    pub(super) fn expected(
        runtime: &'r Located,
        deletion: &'r [OsString],
        record: &'r Record,
    ) -> Result<Self> {
        let before = members::in_use(&record.id)
            .map_err(|e| Error::io("look at processes in", Path::new("/proc"), &e))?;
        Ok(Self {
            runtime,
            deletion,
            record,
            before,
        })
    }

    /// Of a restore whose caller was killed: it stays if every thread holds the label.
    ///
    /// # Errors
    /// Where it was put down.
    pub(super) fn settle(&self, node: &Node) -> Result<()> {
        let interrupted = || {
            let why = "the call ended before the container was restored";
            Error::new(Kind::Internal, why)
        };
        // The engine may have deleted it since, and made another of this id. Then a runtime that
        // went on cannot have noted down its processes, which are nobody's.
        if record::is_outdated(self.record) {
            let is_another =
                runtime_state::exists(&self.record.root.join(&self.record.id)).unwrap_or(true);
            if is_another || !self.is_there() {
                return Ok(());
            }
            let killed = self.members().is_ok_and(|members| members.kill());
            return Err(interrupted().with_remedy(if killed { REMEDY } else { NOT_PUT_DOWN }));
        }
        let why = match self.first() {
            Some(pid) => match labels::all_hold(pid, self.record, node) {
                Ok(()) => return Ok(()),
                Err(why) => why,
            },
            None if self.is_there() => interrupted(),
            None => return record::forget(self.record),
        };
        self.refused(why).1
    }

    /// Kills and deletes it; whether it is gone, and what to tell.
    fn refused<T>(&self, why: Error) -> (bool, Result<T>) {
        let gone = verify::put_down(self.runtime, self.deletion, self.members(), self.record);
        (
            gone,
            Err(why.with_remedy(if gone { REMEDY } else { NOT_PUT_DOWN })),
        )
    }

    /// Kills and deletes what a runtime that failed has left; whether nothing is.
    fn cleared(&self) -> bool {
        if self.is_there() {
            return verify::put_down(self.runtime, self.deletion, self.members(), self.record);
        }
        if let Err(e) = record::forget(self.record) {
            report::notice(&e.to_string());
        }
        true
    }

    /// Whether anything of it is there, or may be.
    fn is_there(&self) -> bool {
        runtime_state::exists(&self.record.root.join(&self.record.id)).unwrap_or(true)
            || self
                .members()
                .and_then(|members| members.list())
                .map_or(true, |list| !list.is_empty())
    }

    fn members(&self) -> io::Result<Members> {
        match self.first() {
            Some(pid) => Members::of(pid, &self.record.id),
            None => Members::since(&self.before, &self.record.id),
        }
    }

    /// Its first process, if the runtime knows that. What is in the file of `--pid-file` may be of
    /// an earlier container.
    fn first(&self) -> Option<u32> {
        let origin = runtime_state::origin(self.runtime.kind, &self.record.root, &self.record.id);
        origin.ok()?.and_then(|origin| origin.pid)
    }
}

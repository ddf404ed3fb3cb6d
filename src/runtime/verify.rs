//! The net under every low-level runtime: the label is read from the process itself, and a
//! container whose process runs without it is killed and deleted.
//!
//! A runtime can fail to set a label without a word: it wrote to a file that was not procfs's
//! (CVE-2019-16884, CVE-2025-52881), or it believed that AppArmor was off (crun 1.27). This does
//! not prevent that; it ends it within milliseconds.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::containers::members::Members;
use crate::containers::process::{self, Process, Stat};
use crate::containers::record::{self, Record};
use crate::containers::{labels, runtime_state};
use crate::error::{Error, Kind, Result, reason};
use crate::node::Node;
use crate::report;
use crate::runtime::{command, locate::Located};

/// What became of a container that ran without its label, and what to do.
pub(super) const PUT_DOWN: &str =
    "it was killed and deleted; update the low-level runtime, and run: oci-apparmor check";

/// The same where that failed.
pub(super) const NOT_PUT_DOWN: &str =
    "it could not be killed and deleted; delete it by force, and run: oci-apparmor check";

/// How long a process may remain the runtime's own, after its gate was opened, without the label:
/// as long as the container's `startContainer` hooks may take, which run by then. Handlers that
/// never execute anything (wasm, krun) have the label at once.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// How long a process that has become the container's may show another label, whatever it does.
/// Within execve(2) the process is the new program's a moment before it has the new label:
/// `begin_new_exec()` (fs/exec.c) first takes the new memory and clears `PF_FORKNOEXEC`, then
/// closes what is to be closed, and then takes the new credentials.
const SETTLED: Duration = Duration::from_millis(200);

/// How long it may, while it waits for a processor in there: until it has had one for this long,
/// which is many times what that part of execve(2) takes.
const ENOUGH: Duration = Duration::from_millis(20);

/// How long it may in any case: a processor that it never gets must not be a way out.
const STARVED: Duration = Duration::from_secs(10);

/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// A container's first process, or one that was exec'ed into it.
#[derive(Debug)]
pub(super) struct Subject(Process);

impl Subject {
    /// A process that waits for `start`, or may have become the container's already; `None` where
    /// it has ended.
    ///
    /// # Errors
    /// Where it cannot be held on to: what cannot be looked at is not taken for ended.
    pub(super) fn of(pid: u32) -> Result<Option<Self>> {
        Ok(Process::of(pid)?.map(Self))
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.0.has_ended()
    }

    /// Whether the label that waits for its next execve(2) is another one than recorded.
    ///
    /// Kernels before 6.12.86 show the reader's own waiting label instead (commit 4afc61702bdc);
    /// that is none, and says nothing.
    ///
    /// # Errors
    /// Where the kernel tells, and it is.
    pub(super) fn waits_for(&self, record: &Record, node: &Node) -> Result<()> {
        match self.attribute("exec").unwrap_or_default().trim_end() {
            "" => Ok(()),
            label => labels::holds(label, record, node),
        }
    }

    /// Whether it is still the runtime's own: a fork of it (runc, crun and youki fork what becomes
    /// the container) that has not executed anything yet. `false` if that cannot be told.
    pub(super) fn is_the_runtimes(&self) -> bool {
        Stat::read(&self.0.directory()).is_ok_and(Stat::has_executed_nothing)
    }

    /// Waits until the process has become the container's, and looks at its label then. One that
    /// has ended meanwhile has ended, and did not fail.
    ///
    /// # Errors
    /// Where it runs without the label, or whether it does cannot be told.
    pub(super) fn verify(&self, record: &Record, node: &Node) -> Result<()> {
        let directory = self.0.directory();
        let gate_opened = Instant::now();
        let mut became = None;
        loop {
            // First whose it is, then the label: what has become the container's had its label by
            // then, but for the moment within execve(2).
            let stat = Stat::read(&directory);
            let seen = self
                .attribute("current")
                .and_then(|label| labels::holds(label.trim_end(), record, node))
                // The node may have been set not to enforce since `start` asked.
                .and_then(|()| labels::enforced(record, &node.kernel));
            if self.has_ended() {
                return Ok(());
            }
            let Err(why) = seen else { return Ok(()) };
            let judged = match stat {
                Ok(stat) if stat.has_executed_nothing() => gate_opened.elapsed() > LIMIT,
                stat => {
                    // What cannot be looked at gets as much time as what gets no processor.
                    let now = stat.as_ref().map_or(0, |s| s.on_processor(&directory));
                    let (since, before) = *became.get_or_insert_with(|| (Instant::now(), now));
                    let ran = Duration::from_nanos(now.saturating_sub(before));
                    let is_at_work = stat.is_ok_and(Stat::is_at_work);
                    is_settled(since.elapsed(), ran, is_at_work)
                }
            };
            if judged {
                return Err(why);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Kills and deletes the container of which it is the first process, as [`put_down`] does.
    pub(super) fn put_down(
        &self,
        runtime: &Located,
        deletion: &[OsString],
        record: &Record,
    ) -> bool {
        let members = Members::of(self.0.pid(), &record.id);
        if members.is_err() {
            // This needs no descriptor.
            self.kill();
        }
        put_down(runtime, deletion, members, record)
    }

    /// Kills this process alone.
    pub(super) fn kill(&self) {
        self.0.kill();
    }

    fn attribute(&self, name: &str) -> Result<String> {
        let path = self.0.directory().join("attr/apparmor").join(name);
        process::read(&path).map_err(|e| {
            let why = format!("cannot read {}: {}", path.display(), reason(&e));
            Error::new(Kind::Internal, why)
        })
    }
}

/// Whether a process must be past execve(2): it became the container's `wall` ago, and was on a
/// processor for `ran` since. One that sleeps has got where it does so; one that wants a processor
/// may only have been denied one.
fn is_settled(wall: Duration, ran: Duration, is_at_work: bool) -> bool {
    wall > STARVED || wall > SETTLED && (ran > ENOUGH || !is_at_work)
}

/// Kills these processes, which are all of a container's, and deletes it; whether it is gone. Only
/// then does its record go, too.
pub(super) fn put_down(
    runtime: &Located,
    deletion: &[OsString],
    members: io::Result<Members>,
    record: &Record,
) -> bool {
    let killed = members.is_ok_and(|members| members.kill());
    let deleted = command(runtime, deletion)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    drop(deleted);
    let gone = killed && !runtime_state::exists(&record.root.join(&record.id)).unwrap_or(true);
    if gone && let Err(e) = record::forget(record) {
        report::notice(&e.to_string());
    }
    gone
}

/// The process that a runtime wrote into a file, as `--pid-file` says.
///
/// # Errors
/// Where there is none.
pub(super) fn first_process(pid_file: &Path) -> Result<u32> {
    fs::read_to_string(pid_file)
        .map_err(|e| reason(&e))
        .and_then(|text| {
            text.trim()
                .parse()
                .map_err(|_| "it holds no number".to_owned())
        })
        .map_err(|why| {
            Error::new(
                Kind::Internal,
                format!("cannot use {}: {why}", pid_file.display()),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_gets_no_processor_is_not_judged_by_the_clock_alone() {
        let ms = Duration::from_millis;
        // Between two steps of execve(2), waiting for a processor.
        assert!(!is_settled(ms(201), ms(0), true));
        assert!(!is_settled(ms(9_000), ms(5), true));
        // It had one for long enough to be anywhere.
        assert!(is_settled(ms(201), ms(21), true));
        // It sleeps: so it has come to where it does.
        assert!(is_settled(ms(201), ms(0), false));
        // Within execve(2) it may be for a moment, whatever it does there.
        assert!(!is_settled(ms(100), ms(100), true));
        assert!(!is_settled(ms(100), ms(0), false));
        // No processor at all is no way out.
        assert!(is_settled(ms(10_001), ms(0), true));
    }
}

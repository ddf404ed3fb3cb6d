//! Reads the label from the container's process, so that a fault of the low-level runtime is noticed.
//!
//! A runtime can silently fail to set a label: it wrote to a file outside procfs (CVE-2019-16884,
//! CVE-2025-52881), or took AppArmor for disabled (crun 1.27). This does not prevent such a start, but
//! ends it within milliseconds.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::apparmor::confinement::Confinement;
use crate::containers::pidfd::PidFd;
use crate::containers::processes::ProcessSet;
use crate::containers::procfs::{self, ProcFile, Stat};
use crate::containers::record::Record;
use crate::containers::{attr, labels};
use crate::counters::{self, Counter};
use crate::error::{Error, Kind, Result, reason};
use crate::node::Node;
use crate::runtime::kill;
use crate::runtime::locate::RuntimeProgram;

/// How long a started process may execute the runtime without the label. `startContainer` hooks run
/// in this time. Handlers that never call execve(2) (wasm, krun) have the label from the start.
pub(super) const HOOKS_LIMIT: Duration = Duration::from_secs(60);

/// How long a process that executes the container's program may show another label. Within execve(2),
/// `begin_new_exec()` (fs/exec.c) first takes the new memory and clears `PF_FORKNOEXEC`, then closes
/// descriptors, and only then takes the new credentials.
const SETTLED: Duration = Duration::from_millis(200);

/// The same in processor time, for a process that waits for a processor in that part of execve(2). It
/// is many times what that part takes.
const PROCESSOR_TIME: Duration = Duration::from_millis(20);

/// The same for a process that gets no processor time: it is judged after this time in any case.
const STARVED: Duration = Duration::from_secs(10);

/// The pause between two reads of the label, at first and when it takes longer. Neither
/// a pidfd nor inotify(7) tells that a process calls execve(2), so it is looked at.
const PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(2);

/// The first process of a container, or one that `exec` started.
#[derive(Debug)]
pub(super) struct ContainerProcess(PidFd);

impl ContainerProcess {
    /// Opens a process; `None` if it has ended.
    ///
    /// # Errors
    /// If it cannot be opened. That is not the same as a process that has ended.
    pub(super) fn open(pid: u32) -> Result<Option<Self>> {
        Ok(PidFd::open(pid)?.map(Self))
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.0.has_ended()
    }

    /// Waits until it has ended, at most for `limit`; whether it has.
    pub(super) fn ends_within(&self, limit: Duration) -> bool {
        self.0.ends_within(Some(limit), None)
    }

    /// Checks the label for the next execve(2), if the kernel shows one; see [`attr::exec`].
    ///
    /// # Errors
    /// If it is not the recorded label.
    pub(super) fn check_next_label(&self, record: &Record, node: &Node) -> Result<()> {
        match attr::exec(&self.0.directory()) {
            Ok(label) if !label.as_str().is_empty() => labels::matches_record(&label, record, node),
            _ => Ok(()),
        }
    }

    /// Whether it has not called execve(2) yet: runc, crun and youki fork the process that becomes the
    /// container's. `false` if that cannot be determined.
    pub(super) fn executes_the_runtime(&self) -> bool {
        let mut stat = ProcFile::of(&self.0.directory(), procfs::STAT);
        Stat::read_again(&mut stat).is_ok_and(Stat::has_executed_nothing)
    }

    /// Waits until the process executes the container's program, and checks its label. A process that
    /// has ended before has not failed.
    ///
    /// # Errors
    /// If it runs without the label, or its label cannot be read.
    pub(super) fn verify(&self, record: &Record, node: &Node) -> Result<()> {
        let directory = self.0.directory();
        let mut stat_file = ProcFile::of(&directory, procfs::STAT);
        let mut label_file = ProcFile::of(&directory, attr::CURRENT);
        let started = Instant::now();
        let mut executed = None;
        let mut pause = PAUSE;
        loop {
            // The order matters: if the process has called execve(2) before the label is read, it has
            // its final label, except for a moment within execve(2).
            let stat = Stat::read_again(&mut stat_file);
            let checked = self
                .label(&mut label_file)
                .and_then(|label| labels::matches_record(&label, record, node))
                // The kernel may have been told to stop enforcing in the meantime.
                .and_then(|()| labels::check_enforcement(record, &node.kernel));
            if self.has_ended() {
                return Ok(());
            }
            let Err(why) = checked else { return Ok(()) };
            let is_final = match stat {
                Ok(stat) if stat.has_executed_nothing() => started.elapsed() > HOOKS_LIMIT,
                stat => {
                    // If the process cannot be read, it counts as one without processor time.
                    let now = stat.as_ref().map_or(0, |s| s.processor_time(&directory));
                    let (since, before) = *executed.get_or_insert_with(|| (Instant::now(), now));
                    let ran = Duration::from_nanos(now.saturating_sub(before));
                    let is_at_work = stat.is_ok_and(Stat::is_at_work);
                    is_settled(since.elapsed(), ran, is_at_work)
                }
            };
            if is_final {
                counters::count(Counter::LabelViolation);
                return Err(why);
            }
            std::thread::sleep(pause);
            pause = longer(pause);
        }
    }

    /// Kills and deletes the container of which this is the first process; see
    /// [`kill::kill_and_delete`].
    pub(super) fn kill_and_delete(
        &self,
        runtime: &RuntimeProgram,
        deletion: &[OsString],
        record: &Record,
    ) -> bool {
        let processes = self.processes(record);
        if processes.is_err() {
            // This works without a free descriptor.
            self.kill();
        }
        kill::kill_and_delete(runtime, deletion, processes, record)
    }

    /// Kills this process only.
    pub(super) fn kill(&self) {
        self.0.kill();
    }

    fn processes(&self, record: &Record) -> io::Result<ProcessSet> {
        ProcessSet::of(self.0.pid(), &record.id)
    }

    fn label(&self, file: &mut ProcFile) -> Result<Confinement> {
        attr::current_again(file).map_err(|e| {
            let pid = self.0.pid();
            let why = format!("cannot read the label of process {pid}: {}", reason(&e));
            Error::new(Kind::Internal, why)
        })
    }
}

impl AsFd for ContainerProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether a process must have left execve(2). It was first seen with the container's program `wall`
/// ago and has had `ran` processor time since. A process that sleeps has left execve(2); one that is
/// runnable may only be waiting for a processor.
fn is_settled(wall: Duration, ran: Duration, is_at_work: bool) -> bool {
    wall > STARVED || wall > SETTLED && (ran > PROCESSOR_TIME || !is_at_work)
}

/// The next pause: one eighth longer, so that a look comes at most that much of the time that has
/// passed too late.
fn longer(pause: Duration) -> Duration {
    let step = pause.checked_div(8).unwrap_or_default();
    pause.saturating_add(step).min(LONGEST_PAUSE)
}

/// The process id that a runtime wrote to the file of `--pid-file`.
///
/// # Errors
/// If there is none.
pub(super) fn read_pid_file(path: &Path) -> Result<u32> {
    fs::read_to_string(path)
        .map_err(|e| reason(&e))
        .and_then(|text| {
            let pid = text.trim().parse();
            pid.map_err(|_| "it does not contain a process id".to_owned())
        })
        .map_err(|why| {
            let why = format!("cannot use the pid file {}: {why}", path.display());
            Error::new(Kind::Internal, why)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_processor_time_is_not_judged_by_the_clock_alone() {
        let ms = Duration::from_millis;
        // It may be within execve(2), waiting for a processor.
        assert!(!is_settled(ms(201), ms(0), true));
        assert!(!is_settled(ms(9_000), ms(5), true));
        // It ran long enough to have left execve(2).
        assert!(is_settled(ms(201), ms(21), true));
        // It sleeps, so it has left execve(2).
        assert!(is_settled(ms(201), ms(0), false));
        // Before the time is up, it is never judged.
        assert!(!is_settled(ms(100), ms(100), true));
        assert!(!is_settled(ms(100), ms(0), false));
        // Without any processor time it is judged in the end.
        assert!(is_settled(ms(10_001), ms(0), true));
    }
}

//! The net under every low-level runtime: the label is read from the process itself, and a
//! container whose process runs without it is killed and deleted.
//!
//! A runtime can fail to set a label without a word: it wrote to a file that was not procfs's
//! (CVE-2019-16884, CVE-2025-52881), or it believed that AppArmor was off (crun 1.27). This does
//! not prevent that; it ends it within milliseconds.

use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::error::{Error, Kind, Result, reason};
use crate::report;
use crate::runtime::command;
use crate::runtime::labels;
use crate::runtime::locate::Located;
use crate::runtime::record::{self, Place, Record};

/// What became of a container that ran without its label, and what to do.
pub(super) const PUT_DOWN: &str =
    "it was killed and deleted; update the low-level runtime, and run: oci-apparmor check";

/// How long a process may remain the runtime's own, after its gate was opened, without the label:
/// as long as the container's `startContainer` hooks may take, which run by then. Handlers that
/// never execute anything (wasm, krun) have the label at once.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a process that has become the container's may show another label. Within execve(2)
/// the file changes a moment before the label does (`begin_new_exec()`, fs/exec.c).
const SETTLED: Duration = Duration::from_millis(200);

/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// A container's first process, or one that was exec'ed into it.
#[derive(Debug)]
pub(super) struct Subject {
    pid: u32,
    handle: OwnedFd,
    /// The file that the process executed while it was surely the runtime's own.
    own: Option<(u64, u64)>,
}

impl Subject {
    /// A process that waits for `start`; `None` where it has ended.
    ///
    /// # Errors
    /// As for [`Self::running`].
    pub(super) fn waiting(pid: u32) -> Result<Option<Self>> {
        let mut subject = Self::running(pid)?;
        if let Some(subject) = &mut subject {
            subject.own = subject.executed();
        }
        Ok(subject)
    }

    /// A process that may have become the container's already; `None` where it has ended.
    ///
    /// # Errors
    /// Where it cannot be held on to: what cannot be looked at is not taken for ended.
    pub(super) fn running(pid: u32) -> Result<Option<Self>> {
        let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            return Err(Error::new(
                Kind::Internal,
                format!("{pid} is no process id"),
            ));
        };
        let handle = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(e) => {
                let why = format!("cannot look at process {pid}: {}", reason(&e.into()));
                return Err(Error::new(Kind::Internal, why));
            }
        };
        let subject = Self {
            pid,
            handle,
            own: None,
        };
        Ok((!subject.has_ended()).then_some(subject))
    }

    /// The process's id.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the label that waits for its next execve(2) is another one than recorded.
    ///
    /// Kernels before 6.12.86 show the reader's own waiting label instead (commit 4afc61702bdc);
    /// that is none, and says nothing.
    ///
    /// # Errors
    /// Where the kernel tells, and it is.
    pub(super) fn waits_for(&self, record: &Record) -> Result<()> {
        match self.attribute("exec").unwrap_or_default().trim_end() {
            "" => Ok(()),
            label => labels::holds(label, record),
        }
    }

    /// Waits until the process has become the container's, and looks at its label then. One that
    /// has ended meanwhile has ended, and did not fail.
    ///
    /// # Errors
    /// Where it runs without the label, or whether it does cannot be told.
    pub(super) fn verify(&self, record: &Record) -> Result<()> {
        let gate_opened = Instant::now();
        let mut became = None;
        loop {
            // First the file, then the label: what has become the container's had its label by
            // then, but for the moment within execve(2).
            let own = self.is_the_runtimes();
            let seen = self
                .attribute("current")
                .and_then(|label| labels::holds(label.trim_end(), record))
                // The node may have been set not to enforce since `start` asked.
                .and_then(|()| labels::enforced(record));
            if self.has_ended() {
                return Ok(());
            }
            let Err(why) = seen else { return Ok(()) };
            let since = match own {
                true => gate_opened,
                false => *became.get_or_insert_with(Instant::now),
            };
            if since.elapsed() > if own { LIMIT } else { SETTLED } {
                return Err(why);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Kills this process alone.
    pub(super) fn kill(&self) {
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
    }

    /// Whether the process still executes the runtime itself.
    fn is_the_runtimes(&self) -> bool {
        match self.own {
            Some(own) => self.executed() == Some(own),
            // runc and crun run from copies of themselves in memory (CVE-2019-5736). A program of
            // the container's that is named so is given more time, and not more than that.
            None => match fs::read_link(self.path("exe")) {
                Ok(file) => {
                    let file = file.to_string_lossy();
                    let last = file.rsplit('/').next().unwrap_or_default();
                    file.starts_with("/memfd:")
                        || ["runc", "crun", "youki", "exe"]
                            .iter()
                            .any(|name| last.trim_end_matches(" (deleted)") == *name)
                }
                Err(_) => true,
            },
        }
    }

    /// The file that the process executes. A runtime's own cannot be looked at without privilege.
    fn executed(&self) -> Option<(u64, u64)> {
        let meta = fs::metadata(self.path("exe")).ok()?;
        Some((meta.dev(), meta.ino()))
    }

    fn attribute(&self, name: &str) -> Result<String> {
        let path = self.path("attr/apparmor").join(name);
        fs::read_to_string(&path).map_err(|e| {
            let why = format!("cannot read {}: {}", path.display(), reason(&e));
            Error::new(Kind::Internal, why)
        })
    }

    fn path(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.pid.to_string()).join(file)
    }

    /// Whether the process is gone, so that what /proc shows under its id may be another's.
    fn has_ended(&self) -> bool {
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(
            &mut [PollFd::new(&self.handle, PollFlags::IN)],
            Some(&at_once),
        )
        .is_ok_and(|n| n > 0)
    }
}

/// Kills every process of a container, of which `pid` is the first one, and deletes it.
///
/// # Errors
/// Where the record of a container that is gone cannot be removed.
pub(super) fn put_down(
    runtime: &Located,
    deletion: &[OsString],
    pid: Option<u32>,
    record: &Record,
) -> Result<()> {
    if let Some(pid) = pid {
        labels::kill_all(pid, &record.id);
    }
    let deleted = command(runtime, deletion)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    drop(deleted);
    if record.root.join(&record.id).symlink_metadata().is_err() {
        return record::remove(Place {
            root: &record.root,
            id: &record.id,
        });
    }
    report::notice(&format!(
        "container {}: it was killed, but not deleted",
        record.id
    ));
    Ok(())
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

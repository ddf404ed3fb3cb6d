//! A process that outlives the wrapper, for `run`: it verifies the label of the container's
//! process, and drops the record of a container that `run` removed.
//!
//! A `run` in the foreground is its container's parent until that ends, and deletes it itself,
//! after we have become it. So a child of ours becomes a session of its own, closes every
//! descriptor, looks at the container's process as soon as there is one, waits for the end of the
//! process that we were, and removes the record if the container is gone.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::child;
use crate::error::{Error, Kind, Result};
use crate::report::{self, EngineLog};
use crate::runtime::argv::Line;
use crate::runtime::locate::Located;
use crate::runtime::record::{self, Place, Record};
use crate::runtime::roots;
use crate::runtime::verify::{self, PUT_DOWN, Subject};
use crate::settings::{LowLevel, Settings, Verify};

/// The names by which the two generations know themselves.
const CHILD: &str = "oci-apparmor-watch";
const GRANDCHILD: &str = "oci-apparmor-watcher";

pub(super) fn is_called_by(argv0: &OsStr) -> bool {
    argv0 == CHILD || argv0 == GRANDCHILD
}

/// How long between two looks at the runtime's state until it names a process, in nanoseconds: at
/// first, and after a while, when it takes its time.
const PAUSE: i64 = 2_000_000;
const LONGEST_PAUSE: i64 = 50_000_000;

/// Starts it; it watches this process, whatever that becomes.
pub(super) fn until_it_ends(runtime: &Located, line: &Line, record: &Record) -> Result<()> {
    let failed = |why: &str| Error::new(Kind::Internal, format!("cannot start the watcher: {why}"));
    let status = itself(CHILD)
        .arg(std::process::id().to_string())
        .arg(&record.root)
        .arg(&record.id)
        .arg(&runtime.program)
        .args(["log", "log-format"].map(|name| line.global(name).unwrap_or_default()))
        .args(line.deletion())
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(&status.to_string())),
        // Reaped by the kernel, where SIGCHLD is ignored.
        Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(()),
        Err(e) => Err(failed(&e.to_string())),
    }
}

/// This program under another name, with nothing of ours but the words that it needs.
fn itself(name: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(name)
        .current_dir("/")
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // Where a runtime looks for its containers, if it is called without --root.
    for name in ["XDG_RUNTIME_DIR", "USER"] {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

pub(super) fn main(argv0: &OsStr, words: &[OsString]) -> ExitCode {
    let done = match argv0 == CHILD {
        true => detach(words),
        false => wait(words),
    };
    if done.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The child: leaves session and descriptors behind, and lets the grandchild be nobody's.
fn detach(words: &[OsString]) -> Option<()> {
    let [pid, rest @ ..] = words else { return None };
    // An engine waits for the other ends of its pipes and sockets; none may stay open here.
    child::close_inherited().ok()?;
    nix::unistd::setsid().ok()?;
    let pid = Pid::from_raw(pid.to_str()?.parse().ok()?)?;
    let watched: OwnedFd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    itself(GRANDCHILD)
        .args(rest)
        .stdin(Stdio::from(watched))
        .spawn()
        .ok()?;
    Some(())
}

/// The grandchild: its standard input is the process that it waits for.
fn wait(words: &[OsString]) -> Option<()> {
    let [root, id, program, log, format, deletion @ ..] = words else {
        return None;
    };
    let place = Place {
        root: Path::new(root),
        id: id.to_str()?,
    };
    let own = record::read(place)?;
    let runtime = Located {
        kind: LowLevel::named(&own.runtime)?,
        program: PathBuf::from(program),
    };
    let ended = verify_first(&runtime, &own, |why, pid| {
        let put_down = verify::put_down(&runtime, deletion, pid, &own);
        let log = EngineLog {
            log: Some(log.clone()),
            format: Some(format.clone()),
        };
        let what = format!("run of container {}", own.id);
        report::refusal(&what, &why.hint(PUT_DOWN), &log);
        if let Err(e) = put_down {
            report::notice(&e.to_string());
        }
    });
    if !ended {
        ends(None);
    }
    let gone = place.root.join(place.id).symlink_metadata().is_err();
    // Another container of this id may have come meanwhile.
    if gone && record::read(place) == Some(own) {
        record::remove(place).ok()?;
    }
    Some(())
}

/// Verifies the container's process as soon as there is one; `false` if the process that we watch
/// may still be there.
fn verify_first(
    runtime: &Located,
    record: &Record,
    refuse: impl FnOnce(Error, Option<u32>),
) -> bool {
    let settings = Settings::load().unwrap_or_default();
    if record.components.is_empty() || settings.verify == Verify::Off {
        return false;
    }
    let mut subject: Option<Subject> = None;
    let mut pause = PAUSE;
    loop {
        let ended = ends(Some(&Timespec {
            tv_sec: 0,
            tv_nsec: pause,
        }));
        // In steps of one in a hundred it has grown after a second or so.
        pause = pause.saturating_add(pause / 100).min(LONGEST_PAUSE);
        let origin = match roots::origin(runtime.kind, &record.root, &record.id) {
            Ok(origin) => origin,
            // While the runtime writes its state, it may be half there; not any more by now.
            Err(why) if ended && subject.is_none() => {
                refuse(why, None);
                return true;
            }
            Err(_) => None,
        };
        let waits = origin.as_ref().is_some_and(|origin| origin.waits);
        if let (None, Some(pid)) = (&subject, origin.and_then(|origin| origin.pid)) {
            let found = match waits {
                true => Subject::waiting(pid),
                false => Subject::running(pid),
            };
            subject = match found {
                Ok(found) => found,
                Err(why) => {
                    refuse(why, Some(pid));
                    return ended;
                }
            };
        }
        match &subject {
            Some(subject) if !waits => {
                if let Err(why) = subject.verify(record) {
                    refuse(why, Some(subject.pid()));
                }
                return ended;
            }
            _ if ended => return true,
            _ => {}
        }
    }
}

/// Waits until the process that we watch has ended, or for some time; whether it has.
fn ends(limit: Option<&Timespec>) -> bool {
    let stdin = std::io::stdin();
    loop {
        match poll(&mut [PollFd::new(&stdin.as_fd(), PollFlags::IN)], limit) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(0) => return false,
            _ => return true,
        }
    }
}

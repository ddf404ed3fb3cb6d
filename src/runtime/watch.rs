//! Starting a watcher: a process that outlives the wrapper and does what that may not come to do,
//! [`crate::runtime::watcher`].
//!
//! It is this program under another name, in a session of its own and without any descriptor of
//! the engine's, and it is ready before the low-level runtime is called: what makes a watcher
//! impossible makes the call fail while there is nothing to watch.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use nix::unistd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use crate::child;
use crate::containers::record::Record;
use crate::error::{Error, Kind, Result, reason};
use crate::runtime::argv::Line;
use crate::runtime::locate::Located;
use crate::runtime::watcher::{self, Watch};

/// The names by which it knows itself. What watches a `run` is nobody's child: the low-level
/// runtime that we become would not expect one.
const CHILD: &str = "oci-apparmor-watch";
const GRANDCHILD: &str = "oci-apparmor-watcher";

/// What it says when it is ready.
const READY: &[u8; 5] = b"ready";

/// How long it may take to be, in seconds, on a node that is very busy.
const PATIENCE: i64 = 30;

pub(super) fn is_called_by(argv0: &OsStr) -> bool {
    argv0 == CHILD || argv0 == GRANDCHILD
}

/// One that watches until this process ends, or comes so far as not to need it.
#[derive(Debug)]
pub(super) struct Watcher(Child);

impl Watcher {
    /// All is settled without it.
    pub(super) fn dismiss(mut self) {
        end(&mut self.0);
    }
}

/// Watches this process, which will become the low-level runtime: that of a `run`.
pub(super) fn after_us(runtime: &Located, line: &Line, record: &Record) -> Result<()> {
    let mut child = started(runtime, line, record, &[])?;
    // Reaped by the kernel, where SIGCHLD is ignored.
    let _ = child.wait();
    Ok(())
}

/// Watches this process, which will call the low-level runtime with these words and wait for it.
pub(super) fn beside_us(
    runtime: &Located,
    line: &Line,
    record: &Record,
    words: &[OsString],
) -> Result<Watcher> {
    started(runtime, line, record, words).map(Watcher)
}

/// Starts one, and waits until it is ready.
fn started(runtime: &Located, line: &Line, record: &Record, words: &[OsString]) -> Result<Child> {
    let failed = |why: &str| Error::new(Kind::Internal, format!("cannot start the watcher: {why}"));
    let io = |e: std::io::Error| failed(&reason(&e));
    // A number could be another process's by the time it is looked at.
    let ourselves = pidfd_open(getpid(), PidfdFlags::empty()).map_err(|e| io(e.into()))?;
    let watch = Watch {
        subcommand: line.subcommand,
        root: record.root.clone(),
        id: record.id.clone(),
        writer: record.writer.to_string(),
        time: record.time.clone(),
        program: runtime.program.clone(),
        log: line.global("log").unwrap_or_default().to_owned(),
        log_format: line.global("log-format").unwrap_or_default().to_owned(),
        words: words.to_vec(),
        deletion: line.deletion(),
    };
    let mut child = itself(CHILD)
        .args(watch.to_words())
        .stdin(Stdio::from(ourselves))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(io)?;
    if child.stdout.take().is_some_and(says_that_it_is_ready) {
        return Ok(child);
    }
    end(&mut child);
    Err(failed("it does not come to be ready"))
}

/// Its answer is of one write, and comes at once, or its end of the pipe is closed.
fn says_that_it_is_ready(mut output: ChildStdout) -> bool {
    let limit = Timespec {
        tv_sec: PATIENCE,
        tv_nsec: 0,
    };
    loop {
        match poll(&mut [PollFd::new(&output, PollFlags::IN)], Some(&limit)) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(0) | Err(_) => return false,
            Ok(_) => break,
        }
    }
    let mut said = [0; READY.len()];
    output.read_exact(&mut said).is_ok() && said == *READY
}

/// Ends a child. One that cannot be killed is not waited for.
fn end(child: &mut Child) {
    if child.kill().is_ok() {
        let _ = child.wait();
    }
}

/// This program under another name, with nothing of ours but the words that it needs.
fn itself(name: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(name)
        .current_dir("/")
        .env_clear()
        .stderr(Stdio::null());
    // Where a runtime looks for its containers, if it is called without --root.
    for name in ["XDG_RUNTIME_DIR", "USER"] {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// The watcher's own: its standard input is the process that it watches, its standard output tells
/// that it is ready.
pub(super) fn main(argv0: &OsStr, words: &[OsString]) -> ExitCode {
    let done = match Watch::from_words(words) {
        Some(watch) if argv0 == CHILD => child(&watch),
        Some(watch) => watcher::watch(&watch),
        None => None,
    };
    match done {
        Some(()) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}

/// Leaves session and descriptors behind.
fn child(watch: &Watch) -> Option<()> {
    // An engine waits for the other ends of its pipes and sockets; none may stay open here.
    child::close_inherited().ok()?;
    unistd::setsid().ok()?;
    if !watch.words.is_empty() {
        return watcher::watch(watch);
    }
    itself(GRANDCHILD).args(watch.to_words()).spawn().ok()?;
    Some(())
}

/// Tells whoever waits that it may go on. That it does not wait any more is found out elsewhere.
pub(super) fn ready() -> Option<()> {
    let null = std::fs::File::options()
        .write(true)
        .open("/dev/null")
        .ok()?;
    let mut output = std::io::stdout();
    let _ = output.write_all(READY);
    let _ = output.flush();
    unistd::dup2_stdout(null).ok()
}

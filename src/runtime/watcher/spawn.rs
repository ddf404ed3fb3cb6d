//! Starts a watcher.

use std::env;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::unistd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use crate::containers::record::Record;
use crate::error::{Error, Kind, Result, reason};
use crate::runtime::argv::RuntimeCommand;
use crate::runtime::locate::RuntimeProgram;
use crate::runtime::watcher::arguments::WatcherArguments;

/// The names that a watcher is called by. The watcher of a `run` is a grandchild, since the runtime
/// that the wrapper becomes does not expect a child.
pub(super) const CHILD: &str = "oci-apparmor-watch";
pub(super) const GRANDCHILD: &str = "oci-apparmor-watcher";

/// What a watcher writes when it is ready.
const READY: &[u8; 5] = b"ready";

/// How long a watcher may take to be ready, in seconds. A busy node needs some.
const READY_LIMIT: i64 = 30;

/// A watcher that goes on if this process is killed.
#[derive(Debug)]
pub(crate) struct WatcherChild(Child);

impl WatcherChild {
    /// Ends it: this process has finished its work.
    pub(crate) fn dismiss(mut self) {
        end(&mut self.0);
    }
}

/// Starts a watcher of this process, which will become the runtime (`run`).
pub(crate) fn for_runtime(
    runtime: &RuntimeProgram,
    line: &RuntimeCommand,
    record: &Record,
) -> Result<()> {
    let mut child = start(runtime, line, record, &[])?;
    // If SIGCHLD is ignored, the kernel has reaped it.
    let _ = child.wait();
    Ok(())
}

/// Starts a watcher of this process, which will call the runtime with these words and wait for it.
pub(crate) fn for_wrapper(
    runtime: &RuntimeProgram,
    line: &RuntimeCommand,
    record: &Record,
    words: &[OsString],
) -> Result<WatcherChild> {
    start(runtime, line, record, words).map(WatcherChild)
}

/// Starts a watcher and waits until it is ready.
fn start(
    runtime: &RuntimeProgram,
    line: &RuntimeCommand,
    record: &Record,
    words: &[OsString],
) -> Result<Child> {
    let failed = |why: &str| Error::new(Kind::Internal, format!("cannot start the watcher: {why}"));
    let io = |e: std::io::Error| failed(&reason(&e));
    // A pidfd, since a process id could be reused before the watcher looks.
    let this_process = pidfd_open(getpid(), PidfdFlags::empty()).map_err(|e| io(e.into()))?;
    let arguments = WatcherArguments {
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
    let mut child = this_program(CHILD)
        .args(arguments.to_words())
        .stdin(Stdio::from(this_process))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(io)?;
    if child.stdout.take().is_some_and(reports_ready) {
        return Ok(child);
    }
    end(&mut child);
    Err(failed("it did not report that it is ready"))
}

/// Waits for the answer of a watcher: one write, or a closed pipe if it failed.
fn reports_ready(mut output: ChildStdout) -> bool {
    let limit = Timespec {
        tv_sec: READY_LIMIT,
        tv_nsec: 0,
    };
    loop {
        match poll(&mut [PollFd::new(&output, PollFlags::IN)], Some(&limit)) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(0) | Err(_) => return false,
            Ok(_) => break,
        }
    }
    let mut answer = [0; READY.len()];
    output.read_exact(&mut answer).is_ok() && answer == *READY
}

/// Kills a child and reaps it.
fn end(child: &mut Child) {
    if child.kill().is_ok() {
        let _ = child.wait();
    }
}

/// Starts the watcher itself from its parent, which leaves it to init.
pub(super) fn grandchild(arguments: &WatcherArguments) -> Option<()> {
    let mut command = this_program(GRANDCHILD);
    command.args(arguments.to_words()).spawn().ok()?;
    Some(())
}

/// This program under another name, without our environment.
fn this_program(name: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(name)
        .current_dir("/")
        .env_clear()
        .stderr(Stdio::null());
    // They decide the default root of the runtimes.
    for name in ["XDG_RUNTIME_DIR", "USER"] {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Called in the watcher: reports that it is ready, and closes standard output. If the wrapper has
/// ended, the write fails, and the watcher notices that later.
pub(super) fn report_ready() -> Option<()> {
    let null = std::fs::File::options()
        .write(true)
        .open("/dev/null")
        .ok()?;
    let mut output = std::io::stdout();
    let _ = output.write_all(READY);
    let _ = output.flush();
    unistd::dup2_stdout(null).ok()
}

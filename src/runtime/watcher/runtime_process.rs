//! Whether a runtime still runs that the killed wrapper has called.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::containers::procfs;
use crate::runtime::locate::RuntimeProgram;

/// Larger than any command line of a runtime.
const COMMAND_LINE_MAX: u64 = 128 << 10;

/// The call of a runtime by a wrapper.
pub(super) struct RuntimeCall {
    /// The end of its command line, as in `/proc/PID/cmdline`. Its beginning, the program's name, may
    /// vary.
    tail: Vec<u8>,
    /// The command line of the wrapper. Its child has the same one until it executes the runtime.
    wrapper: Option<Vec<u8>>,
}

impl RuntimeCall {
    /// The call with these words, by the parent of this process.
    pub(super) fn by_parent(words: &[OsString]) -> Self {
        let mut tail = vec![0];
        for word in words {
            tail.extend(word.as_bytes());
            tail.push(0);
        }
        Self {
            tail,
            wrapper: parent_command_line(),
        }
    }

    /// Whether a process is, or is about to be, this call.
    pub(super) fn is_running(&self, runtime: &RuntimeProgram) -> bool {
        let namespace = |process: &Path| fs::read_link(process.join("ns/pid")).ok();
        let own = namespace(Path::new("/proc/self"));
        let is_call = |process: &PathBuf| {
            let Ok(command_line) = command_line(process) else {
                return false;
            };
            // For a moment within execve(2), after vfork(2) has returned in the parent, a process has
            // no command line.
            let is_called = command_line.ends_with(&self.tail)
                || Some(&command_line) == self.wrapper.as_ref()
                || (command_line.is_empty() && executes(process, &runtime.program));
            // A process in a container may have any command line.
            is_called && namespace(process) == own
        };
        procfs::processes().is_ok_and(|all| all.iter().any(is_call))
    }
}

/// The command line of a process, given as `/proc/PID`.
fn command_line(process: &Path) -> io::Result<Vec<u8>> {
    let mut words = Vec::new();
    File::open(process.join("cmdline"))
        .and_then(|file| file.take(COMMAND_LINE_MAX).read_to_end(&mut words))?;
    Ok(words)
}

/// The command line of the wrapper, if it has not ended.
fn parent_command_line() -> Option<Vec<u8>> {
    let parent = nix::unistd::getppid().to_string();
    let words = command_line(&Path::new("/proc").join(parent)).ok()?;
    // As long as the wrapper exists, the parent is the wrapper.
    (!words.is_empty() && !watched_process_ends(Some(Duration::ZERO))).then_some(words)
}

/// Whether a process executes this program.
fn executes(process: &Path, program: &Path) -> bool {
    match (fs::metadata(process.join("exe")), fs::metadata(program)) {
        (Ok(own), Ok(other)) => (own.dev(), own.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// Waits until the watched process ends, at most for `limit`; whether it has. Standard input is a
/// pidfd of it.
pub(super) fn watched_process_ends(limit: Option<Duration>) -> bool {
    let limit = limit.map(|limit| Timespec {
        tv_sec: 0,
        tv_nsec: limit.subsec_nanos().into(),
    });
    let stdin = io::stdin();
    loop {
        let mut fds = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)];
        match poll(&mut fds, limit.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(0) => return false,
            _ => return true,
        }
    }
}

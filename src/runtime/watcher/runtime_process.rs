//! Whether a runtime still runs that the killed wrapper has called.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::containers::procfs;
use crate::runtime::locate::RuntimeProgram;
use crate::runtime::watcher::NAME;

/// Larger than any command line of a runtime.
const COMMAND_LINE_MAX: u64 = 128 << 10;

/// The most bytes of a process's name, `TASK_COMM_LEN` without its zero (proc(5), `comm`).
const COMM_LENGTH: usize = 15;

/// The call of a runtime by a wrapper.
#[derive(Debug)]
pub(super) struct RuntimeCall {
    /// The end of its command line, as in `/proc/PID/cmdline`. Its beginning, the program's name, may
    /// vary.
    tail: Vec<u8>,
    /// The command line of the wrapper. Its child has the same one until it executes the runtime.
    wrapper: Vec<u8>,
}

impl RuntimeCall {
    /// The call with these words, by this process or the one that it was copied from.
    pub(super) fn by_this_process(words: &[OsString]) -> Self {
        Self {
            tail: [vec![0], joined(words.iter().cloned())].concat(),
            wrapper: joined(env::args_os()),
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
                || command_line == self.wrapper
                || (command_line.is_empty() && executes(process, &runtime.program));
            // This process and other watchers have the command line of a wrapper. A process in a
            // container may have any command line.
            is_called && !is_watcher(process) && namespace(process) == own
        };
        procfs::processes().is_ok_and(|all| all.iter().any(is_call))
    }
}

/// Words as `/proc/PID/cmdline` shows them.
fn joined(words: impl Iterator<Item = OsString>) -> Vec<u8> {
    let mut line = Vec::new();
    for word in words {
        line.extend(word.as_bytes());
        line.push(0);
    }
    line
}

/// The command line of a process, given as `/proc/PID`.
fn command_line(process: &Path) -> io::Result<Vec<u8>> {
    let mut words = Vec::new();
    File::open(process.join("cmdline"))
        .and_then(|file| file.take(COMMAND_LINE_MAX).read_to_end(&mut words))?;
    Ok(words)
}

fn is_watcher(process: &Path) -> bool {
    comm(process).is_some_and(|comm| comm == NAME.to_bytes())
}

/// The name of a process.
fn comm(process: &Path) -> Option<Vec<u8>> {
    let mut name = fs::read(process.join("comm")).ok()?;
    name.pop_if(|last| *last == b'\n');
    Some(name)
}

/// Whether a process executes this program. If that is a script, the process has its interpreter
/// as `exe`, but its name (`begin_new_exec()`, fs/exec.c).
fn executes(process: &Path, program: &Path) -> bool {
    let name = program.file_name().unwrap_or_default().as_bytes();
    let name = name.get(..COMM_LENGTH).unwrap_or(name);
    if comm(process).is_some_and(|comm| comm == name) {
        return true;
    }
    match (fs::metadata(process.join("exe")), fs::metadata(program)) {
        (Ok(own), Ok(other)) => (own.dev(), own.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;
    use crate::settings::RuntimeKind;

    /// A program of this name with these words. The kernel names a process after the path.
    fn sleep(directory: &Path, name: &str, words: &[&str]) -> Child {
        let program = directory.join(name);
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let child = Command::new(program).args(words).spawn().unwrap();
        // It is within execve(2) until it has a command line.
        let process = process(&child);
        while command_line(&process).unwrap().is_empty() {
            std::thread::yield_now();
        }
        child
    }

    fn process(child: &Child) -> PathBuf {
        Path::new("/proc").join(child.id().to_string())
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_watcher_is_no_call_of_the_runtime() {
        let directory = tempfile::tempdir().unwrap();
        let runtime = RuntimeProgram {
            kind: RuntimeKind::Runc,
            program: directory.path().join("other"),
        };
        let words = ["1000", &std::process::id().to_string()];
        let words: Vec<OsString> = words.map(OsString::from).to_vec();
        let mut call = RuntimeCall::by_this_process(&words);
        assert!(call.is_running(&runtime));
        call.wrapper.push(0);
        assert!(!call.is_running(&runtime));

        let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
        let watcher = sleep(directory.path(), NAME.to_str().unwrap(), &words);
        assert!(!call.is_running(&runtime));
        let called = sleep(directory.path(), "runc", &words);
        assert!(call.is_running(&runtime));
        end(called);
        assert!(!call.is_running(&runtime));
        end(watcher);
    }

    #[test]
    fn a_program_is_told_by_its_file_and_a_script_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let name = "runc-with-a-long-name";
        let child = sleep(directory.path(), name, &["1000"]);
        let executes = |program: &Path| executes(&process(&child), program);
        assert!(executes(Path::new("/bin/sleep")));
        assert!(executes(&Path::new("/no/such/directory").join(name)));
        for other in ["/bin/sh", "/no/such/directory/runc", "/"] {
            assert!(!executes(Path::new(other)), "{other}");
        }
        end(child);
    }
}

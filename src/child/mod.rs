//! Running another program, under limits.
//!
//! A rule of twenty characters (`/**a????…`) can keep the compiler busy for minutes and fill the
//! memory, and an include can be a FIFO. This process watches the elapsed time. The kernel limits
//! processor time, memory and output, also if this process is killed.

mod failure;
mod limits;
mod spawn;

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::Error;
use crate::fs::bounded;

pub use failure::{Cause, ChildFailure};
pub use limits::{Limit, Limits};
pub use spawn::spawn;

use limits::MAX_OUTPUT;

/// How much of its standard error is kept.
const MAX_MESSAGES: u64 = 64 << 10;

/// The output of a successful run.
#[derive(Debug)]
pub struct ChildOutput {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// The first 64 KiB of its standard error.
    pub stderr: String,
}

/// Runs `program`, which must be trusted already, with `input` as its standard input.
///
/// # Errors
/// [`ChildFailure`], with the program's own message or the limit that it exceeded.
pub fn run(
    program: &Path,
    arguments: &[&str],
    input: &[u8],
    limits: Limits,
) -> std::result::Result<ChildOutput, ChildFailure> {
    let name = program.file_name().unwrap_or(program.as_os_str());
    carry_out(program, arguments, input, limits).map_err(|cause| ChildFailure {
        program: name.to_string_lossy().into_owned(),
        cause,
    })
}

fn carry_out(
    program: &Path,
    arguments: &[&str],
    input: &[u8],
    limits: Limits,
) -> std::result::Result<ChildOutput, Cause> {
    let failed = |e: &io::Error| Cause::System(Error::io("run", program, e));
    // Memory files need no disk, which may be full or read-only, and no threads, which pipes in
    // both directions would.
    let mut stdin = memory_file("source").map_err(|e| failed(&e))?;
    stdin
        .write_all(input)
        .and_then(|()| stdin.rewind())
        .map_err(|e| failed(&e))?;
    let stdout = memory_file("policy").map_err(|e| failed(&e))?;
    let stderr = memory_file("messages").map_err(|e| failed(&e))?;
    let handle = |f: &File| f.try_clone().map(Stdio::from).map_err(|e| failed(&e));
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::from(stdin))
        .stdout(handle(&stdout)?)
        .stderr(handle(&stderr)?);
    let mut child = spawn(&mut command).map_err(|e| failed(&e))?;
    let status = match limits.apply(&child) {
        Ok(()) => wait(program, &mut child, limits),
        Err(e) => Err(Cause::System(Error::io("limit", program, &e))),
    };
    let status = status.inspect_err(|_| {
        // Best effort: a process that cannot be killed cannot be waited for either.
        let _ = child.kill();
        let _ = child.wait();
    })?;
    let messages = messages(stderr).map_err(|e| failed(&e))?;
    let written = stdout.metadata().map_err(|e| failed(&e))?.len();
    if !status.success() || written >= MAX_OUTPUT {
        return Err(Cause::of(status, written, messages, limits));
    }
    let stdout = contents(stdout).map_err(|e| failed(&e))?;
    Ok(ChildOutput {
        stdout,
        stderr: messages,
    })
}

/// Waits until the child ends, at most as long as it may run.
fn wait(
    program: &Path,
    child: &mut Child,
    limits: Limits,
) -> std::result::Result<ExitStatus, Cause> {
    let deadline = Instant::now().checked_add(limits.time);
    let end = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).ok();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => {}
            // The engine that started us ignores SIGCHLD, so the kernel reaped the child. Its
            // exit status is lost; its output is still judged.
            Err(e) if e.raw_os_error() == Some(libc::ECHILD) => {
                return Ok(ExitStatus::default());
            }
            Err(e) => {
                return Err(Cause::System(Error::io("wait for", program, &e)));
            }
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match left {
            Some(left) if !left.is_zero() => until_it_ends(end.as_ref(), left),
            _ => return Err(Cause::Limit(limits.time_limit())),
        }
    }
}

/// Waits until a child ends, but only for a part of `left`, after which it is looked again: where the
/// kernel reaps the child, its id may have been reused before the pidfd was opened.
fn until_it_ends(end: Option<&OwnedFd>, left: Duration) {
    let Some(end) = end else {
        // There are no more descriptors.
        return thread::sleep(left.min(Duration::from_millis(5)));
    };
    let limit = Timespec {
        tv_sec: 0,
        tv_nsec: left.min(Duration::from_millis(500)).subsec_nanos().into(),
    };
    // If it is interrupted or fails, the next look comes sooner.
    if poll(&mut [PollFd::new(end, PollFlags::IN)], Some(&limit)).is_err() {
        thread::sleep(Duration::from_millis(1));
    }
}

fn memory_file(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?))
}

/// The contents of a memory file.
fn contents(mut file: File) -> io::Result<Vec<u8>> {
    file.rewind()?;
    bounded::read(&file, MAX_OUTPUT)?.ok_or_else(|| io::Error::other("its output is too large"))
}

/// What apparmor_parser prints if the kernel has no AppArmor, even with its cache turned off.
const NO_CACHE: &str = "Cache read/write disabled";

/// The messages in a memory file, up to [`MAX_MESSAGES`].
fn messages(mut file: File) -> io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MAX_MESSAGES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.split_inclusive('\n');
    Ok(lines.filter(|l| !l.starts_with(NO_CACHE)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn shell(script: &str, limits: Limits) -> std::result::Result<ChildOutput, ChildFailure> {
        run(Path::new("/bin/sh"), &["-c", script], b"input", limits)
    }

    const LIMITS: Limits = Limits {
        time: Duration::from_secs(20),
        memory: 256 << 20,
    };

    #[track_caller]
    fn refused(script: &str, limits: Limits, why: &str) {
        let e = Error::from(shell(script, limits).unwrap_err());
        assert_eq!(e.kind(), Kind::DoesNotCompile);
        let text = e.to_string();
        assert!(text.starts_with("sh: ") && text.contains(why), "{text}");
    }

    #[test]
    fn output_and_messages_are_separate() {
        let output = shell("cat; echo warned >&2", LIMITS).unwrap();
        assert_eq!(output.stdout, b"input");
        assert_eq!(output.stderr, "warned\n");
        let output = shell("head -c 100000 /dev/zero >&2", LIMITS).unwrap();
        assert_eq!(output.stderr.len() as u64, MAX_MESSAGES);
    }

    #[test]
    fn the_limits_are_set() {
        // The limits are set just after the start.
        let output = shell(
            "sleep 0.3; ulimit -St; ulimit -Ht; ulimit -v; ulimit -f; ulimit -c",
            LIMITS,
        )
        .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // ulimit -f counts in blocks of 512 bytes, -v in KiB.
        assert_eq!(text, "20\n21\n262144\n65536\n0\n");
    }

    #[test]
    fn the_message_names_the_limit() {
        let second = Duration::from_millis(900);
        refused(
            "exec sleep 60",
            Limits {
                time: second,
                ..LIMITS
            },
            "did not finish within 1 s",
        );
        refused(
            "kill -XCPU $$",
            LIMITS,
            "used more than 20 s of processor time",
        );
        refused("kill -XFSZ $$", LIMITS, "wrote more than 32 MiB");
        refused(
            "sleep 0.3; head -c 40000000 /dev/zero",
            LIMITS,
            "wrote more than 32 MiB",
        );
        refused(
            "sleep 0.3; trap '' XFSZ; head -c 40000000 /dev/zero",
            LIMITS,
            "wrote more than 32 MiB",
        );
        refused(
            "echo \"terminate called after throwing an instance of 'std::bad_alloc'\" >&2; kill -ABRT $$",
            LIMITS,
            "needed more than 256 MiB of memory",
        );
    }

    #[test]
    fn other_failures_have_the_programs_message() {
        refused("echo 'syntax error' >&2; exit 1", LIMITS, "syntax error");
        refused(
            "echo 'Warning from stdin (stdin): w' >&2; echo Cache read/write disabled >&2; \
             echo why >&2; exit 1",
            LIMITS,
            "sh: why",
        );
        refused("kill -SEGV $$", LIMITS, "killed by signal 11");
        refused("exit 3", LIMITS, "exit status 3");
    }
}

//! One run of another program, under limits.
//!
//! A rule of twenty characters can make the compiler work for minutes and fill the memory
//! (`/**a????…`), and an include can be a FIFO. The wall clock is watched from here. Processor
//! time, memory and output are the kernel's to watch, so that they hold for a program that
//! outlives us as well.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::error::{Error, Kind, foreign};
use crate::fs::trusted;

/// The most that it may write; compiled policy, even big and hand-written, is below 2 MiB.
const MAX_OUTPUT: u64 = 32 << 20;

/// The most of its messages that is kept.
const MAX_MESSAGES: u64 = 64 << 10;

/// What one run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long it may take, and how much processor time.
    pub time: Duration,
    /// How much address space it may have, in bytes.
    pub memory: u64,
}

/// What a run that succeeded wrote.
#[derive(Debug)]
pub struct Output {
    /// On standard output.
    pub stdout: Vec<u8>,
    /// On standard error, the first 64 KiB.
    pub stderr: String,
}

/// A run that failed.
#[derive(Debug)]
pub struct Failure {
    /// The base name of the program.
    pub program: String,
    /// Why.
    pub cause: Cause,
}

/// Why a run failed.
#[derive(Debug)]
pub enum Cause {
    /// It could not be started, or not be waited for.
    System(Error),
    /// It met one of its limits.
    Limit(Limit),
    /// It said so itself.
    Exit {
        /// How it ended.
        status: ExitStatus,
        /// What it wrote on standard error, at most 64 KiB.
        messages: String,
    },
}

/// A limit that a run met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Of time, in seconds.
    Time(u64),
    /// Of processor time, in seconds.
    ProcessorTime(u64),
    /// Of address space, in MiB.
    Memory(u64),
    /// Of what it may write, in MiB.
    Output(u64),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(limit) => write!(f, "it did not finish within {limit} s"),
            Self::ProcessorTime(limit) => {
                write!(f, "it used more than {limit} s of processor time")
            }
            Self::Memory(limit) => write!(f, "it needed more than {limit} MiB of memory"),
            Self::Output(limit) => write!(f, "it wrote more than {limit} MiB"),
        }
    }
}

impl Failure {
    /// The limit that it met, if that is the cause.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        match self.cause {
            Cause::Limit(limit) => Some(limit),
            Cause::System(_) | Cause::Exit { .. } => None,
        }
    }

    /// What it wrote on standard error, if it ended by itself.
    #[must_use]
    pub fn messages(&self) -> &str {
        match &self.cause {
            Cause::Exit { messages, .. } => messages,
            Cause::System(_) | Cause::Limit(_) => "",
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let why = match failure.cause {
            Cause::System(e) => return e,
            Cause::Limit(limit) => limit.to_string(),
            Cause::Exit { status, messages } => {
                // Warnings come first; they must not crowd out the reason.
                let warned = |line: &&str| line.starts_with("Warning");
                let reasons: Vec<&str> = messages.lines().filter(|l| !warned(l)).collect();
                match (foreign(&reasons.join("\n")), status.signal()) {
                    (text, _) if !text.is_empty() => text,
                    (_, Some(signal)) => format!("killed by signal {signal}"),
                    _ => format!("exit status {}", status.code().unwrap_or(-1)),
                }
            }
        };
        Self::new(Kind::DoesNotCompile, format!("{}: {why}", failure.program))
    }
}

/// Runs `program`, found to be trusted, with `input` on its standard input.
///
/// # Errors
/// [`Failure`] with what it says, or with the limit that it met.
pub fn run(
    program: &Path,
    arguments: &[&str],
    input: &[u8],
    limits: Limits,
) -> std::result::Result<Output, Failure> {
    let name = program.file_name().unwrap_or(program.as_os_str());
    carry_out(program, arguments, input, limits).map_err(|cause| Failure {
        program: name.to_string_lossy().into_owned(),
        cause,
    })
}

fn carry_out(
    program: &Path,
    arguments: &[&str],
    input: &[u8],
    limits: Limits,
) -> std::result::Result<Output, Cause> {
    let failed = |e: &io::Error| Cause::System(Error::io("run", program, e));
    // Anonymous memory files: they need no disk, which may be full or read-only, and no thread,
    // which a pipe in each direction would.
    let mut stdin = memory("source").map_err(|e| failed(&e))?;
    stdin
        .write_all(input)
        .and_then(|()| stdin.rewind())
        .map_err(|e| failed(&e))?;
    let stdout = memory("policy").map_err(|e| failed(&e))?;
    let stderr = memory("messages").map_err(|e| failed(&e))?;
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
    let status = match confine(&child, limits) {
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
        return Err(cause(status, written, messages, limits));
    }
    let stdout = contents(stdout).map_err(|e| failed(&e))?;
    Ok(Output {
        stdout,
        stderr: messages,
    })
}

/// Starts `command` with no other descriptor than its three: what an engine has open is for the
/// low-level runtime alone, and it waits for the other ends of its pipes.
///
/// # Errors
/// As for [`Command::spawn`].
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    // A thread that has its own table of descriptors can close them: ours stay as they are.
    std::thread::scope(|scope| {
        let started = std::thread::Builder::new().spawn_scoped(scope, || {
            // Docker's filter of system calls denies it, for instance to a `lint` in a CI job.
            if nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).is_ok() {
                close_inherited()?;
            }
            command.spawn()
        });
        let ended = started?.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the thread that starts it failed")))
    })
}

/// Closes what this thread would hand on to another program, but for the standard three.
///
/// # Errors
/// Where it cannot be told what is open.
pub fn close_inherited() -> io::Result<()> {
    for entry in fs::read_dir("/proc/thread-self/fdinfo")? {
        let entry = entry?;
        let Some(fd) = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<i32>().ok())
        else {
            continue;
        };
        let info = fs::read_to_string(entry.path())?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|octal| i32::from_str_radix(octal.trim(), 8).ok());
        if fd > 2 && flags.is_none_or(|flags| flags & libc::O_CLOEXEC == 0) {
            nix::unistd::close(fd)?;
        }
    }
    Ok(())
}

/// Sets the limits that the kernel watches.
///
/// After the start, since between fork and exec nothing may be called without unsafe code. What
/// the program does until then is to be loaded.
fn confine(child: &Child, limits: Limits) -> io::Result<()> {
    let pid = Some(Pid::from_child(child));
    let seconds = whole_seconds(limits.time);
    for (resource, soft, hard) in [
        // SIGXCPU at the first, SIGKILL at the second.
        (Resource::Cpu, seconds, seconds.saturating_add(1)),
        (Resource::As, limits.memory, limits.memory),
        // Holds for memory files too (generic_write_check_limits(), fs/read_write.c).
        (Resource::Fsize, MAX_OUTPUT, MAX_OUTPUT),
        // The signals of these limits would leave the profile's text in a file.
        (Resource::Core, 0, 0),
    ] {
        // It has inherited ours; to raise one would need a privilege.
        let ours = getrlimit(resource);
        let limit = Rlimit {
            current: Some(ours.current.map_or(soft, |l| l.min(soft))),
            maximum: Some(ours.maximum.map_or(hard, |l| l.min(hard))),
        };
        match prlimit(pid, resource, limit) {
            Ok(_) => {}
            // It has ended, and an engine that ignores SIGCHLD lets the kernel reap.
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// `time` in seconds, rounded up; at least one.
fn whole_seconds(time: Duration) -> u64 {
    let part = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(part).max(1)
}

/// Waits, but no longer than it may take.
fn wait(
    program: &Path,
    child: &mut Child,
    limits: Limits,
) -> std::result::Result<ExitStatus, Cause> {
    let deadline = Instant::now().checked_add(limits.time);
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => {}
            // An engine that ignores SIGCHLD lets the kernel reap: what came out is judged.
            Err(e) if e.raw_os_error() == Some(libc::ECHILD) => {
                return Ok(ExitStatus::default());
            }
            Err(e) => {
                return Err(Cause::System(Error::io("wait for", program, &e)));
            }
        }
        if deadline.is_none_or(|d| Instant::now() > d) {
            return Err(Cause::Limit(Limit::Time(whole_seconds(limits.time))));
        }
        std::thread::sleep(pause);
        pause = pause.saturating_mul(2).min(Duration::from_millis(10));
    }
}

/// Why a run failed that has ended.
fn cause(status: ExitStatus, written: u64, messages: String, limits: Limits) -> Cause {
    let signal = status.signal();
    if signal == Some(libc::SIGXCPU) {
        return Cause::Limit(Limit::ProcessorTime(whole_seconds(limits.time)));
    }
    // Where our caller has SIGXFSZ ignored, the writes of the child fail instead.
    if signal == Some(libc::SIGXFSZ) || written >= MAX_OUTPUT {
        return Cause::Limit(Limit::Output(MAX_OUTPUT >> 20));
    }
    if out_of_memory(&messages) {
        return Cause::Limit(Limit::Memory(limits.memory >> 20));
    }
    Cause::Exit { status, messages }
}

/// Whether the messages are those of a program that was refused memory: by the C++ library, its
/// lexer, its own checks, and the dynamic loader.
fn out_of_memory(messages: &str) -> bool {
    [
        "std::bad_alloc",
        "out of dynamic memory",
        "emory allocation error",
        "out of memory",
        "annot allocate memory",
        "failed to map segment",
    ]
    .iter()
    .any(|phrase| messages.contains(phrase))
}

fn memory(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?))
}

/// What was written to a memory file.
fn contents(mut file: File) -> io::Result<Vec<u8>> {
    file.rewind()?;
    trusted::bounded(&file, MAX_OUTPUT)?.ok_or_else(|| io::Error::other("its output is too large"))
}

/// What the parser says of its cache where the kernel has no AppArmor, although it was told to
/// use none.
const NO_CACHE: &str = "Cache read/write disabled";

/// The beginning of the messages that were written to a memory file.
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

    fn shell(script: &str, limits: Limits) -> std::result::Result<Output, Failure> {
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
    fn what_it_writes_is_kept_apart() {
        let output = shell("cat; echo warned >&2", LIMITS).unwrap();
        assert_eq!(output.stdout, b"input");
        assert_eq!(output.stderr, "warned\n");
        let output = shell("head -c 100000 /dev/zero >&2", LIMITS).unwrap();
        assert_eq!(output.stderr.len() as u64, MAX_MESSAGES);
    }

    #[test]
    fn its_limits_are_set_whatever_ours_are() {
        // Not at once: they are set just after the start.
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
    fn other_failures_are_told_as_they_are() {
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

    #[test]
    fn seconds_are_never_zero() {
        for (time, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(time)), seconds);
        }
    }
}

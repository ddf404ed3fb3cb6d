//! The host's `apparmor_parser`: the only compiler of AppArmor's language.
//!
//! It compiles as this host would (its `parser.conf`, base directory and abi pins). It gets our
//! own copy of the source on standard input, so that what was checked is what is compiled, and so
//! that its look-ups by file name (`disable/`, `force-complain/`, its cache) cannot be hit by
//! chance. It runs with an empty environment, and under limits of time and output: a profile can
//! make it run for minutes, and an include can be a FIFO.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::error::{Error, Kind, Result, foreign};
use crate::trusted;

/// Where the parser is looked for.
const PATHS: [&str; 2] = ["/sbin/apparmor_parser", "/usr/sbin/apparmor_parser"];

/// The largest compiled policy; big hand-written ones are below 2 MiB.
const MAX_BLOB: u64 = 32 << 20;

/// The most of the parser's messages that is kept.
const MAX_MESSAGES: u64 = 64 << 10;

/// The parser of this host.
#[derive(Debug, Clone)]
pub struct Parser {
    program: PathBuf,
    limit: Duration,
}

impl Parser {
    /// Finds it, at `configured` or in the usual places; each run may take `limit`.
    ///
    /// # Errors
    /// Where there is none, or one that somebody else could have put there.
    pub fn find(configured: Option<&Path>, limit: Duration) -> Result<Self> {
        let usual = PATHS.map(Path::new);
        let candidates = configured.as_ref().map_or(&usual[..], std::slice::from_ref);
        let mut failure = None;
        for path in candidates {
            match trusted::program(path) {
                Ok(program) => return Ok(Self { program, limit }),
                Err(refusal) => failure = Some(refusal.about(path, Kind::Internal)),
            }
        }
        Err(failure
            .unwrap_or_else(|| Error::new(Kind::Internal, "apparmor_parser is missing"))
            .hint("install the package apparmor (apparmor-parser on other distributions)"))
    }

    /// The program that runs.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Compiles `source` and loads nothing.
    ///
    /// # Errors
    /// [`Kind::DoesNotCompile`] with the parser's own message.
    pub fn compile(&self, source: &[u8], complain: bool) -> Result<Vec<u8>> {
        let complain: &[&str] = if complain { &["-C"] } else { &[] };
        self.run(&[&["-Q", "-K", "-S"], complain].concat(), source)
    }

    /// The profiles that `source` declares, as the parser reads them.
    ///
    /// It does not expand variables in names, so compiled policy is asked where it can be walked.
    ///
    /// # Errors
    /// As for [`Parser::compile`].
    pub fn names(&self, source: &[u8]) -> Result<Vec<String>> {
        let output = self.run(&["-N"], source)?;
        Ok(String::from_utf8_lossy(&output)
            .lines()
            .map(str::to_owned)
            .collect())
    }

    /// Compiles `source` and loads it, replacing what it names.
    ///
    /// # Errors
    /// As for [`Parser::compile`], and where the kernel refuses.
    pub fn replace(&self, source: &[u8], complain: bool) -> Result<()> {
        let complain: &[&str] = if complain { &["-C"] } else { &[] };
        self.run(&[&["-r", "-K"], complain].concat(), source)
            .map(drop)
    }

    /// The first line of `apparmor_parser --version`.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn version(&self) -> Result<String> {
        let output = self.run(&["--version"], b"")?;
        Ok(String::from_utf8_lossy(&output)
            .lines()
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned())
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
        let failed = |e: &std::io::Error| Error::io("run", &self.program, e);
        // Anonymous memory files: they need no disk, which may be full or read-only, and no
        // thread, which a pipe in each direction would.
        let mut stdin = memory("source").map_err(|e| failed(&e))?;
        stdin
            .write_all(input)
            .and_then(|()| stdin.rewind())
            .map_err(|e| failed(&e))?;
        let stdout = memory("policy").map_err(|e| failed(&e))?;
        let stderr = memory("messages").map_err(|e| failed(&e))?;
        let handle = |f: &File| f.try_clone().map(Stdio::from).map_err(|e| failed(&e));
        let mut child = Command::new(&self.program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::from(stdin))
            .stdout(handle(&stdout)?)
            .stderr(handle(&stderr)?)
            .spawn()
            .map_err(|e| failed(&e))?;
        let status = self.wait(&mut child, &stdout)?;
        let output = contents(stdout, MAX_BLOB).map_err(|e| failed(&e))?;
        let messages = contents(stderr, MAX_MESSAGES).map_err(|e| failed(&e))?;
        if status.success() {
            return Ok(output);
        }
        let messages = String::from_utf8_lossy(&messages);
        let why = match (foreign(&messages), status.signal()) {
            (text, _) if !text.is_empty() => text,
            (_, Some(signal)) => format!("killed by signal {signal}"),
            _ => format!("exit status {}", status.code().unwrap_or(-1)),
        };
        Err(Error::new(
            Kind::DoesNotCompile,
            format!("apparmor_parser: {why}"),
        ))
    }

    /// Waits within the limits of time and output, and kills beyond them.
    fn wait(&self, child: &mut Child, stdout: &File) -> Result<ExitStatus> {
        let deadline = Instant::now().checked_add(self.limit);
        let mut pause = Duration::from_millis(1);
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                // An engine that ignores SIGCHLD lets the kernel reap: what came out is judged.
                Err(e) if e.raw_os_error() == Some(libc::ECHILD) => {
                    return Ok(ExitStatus::default());
                }
                Err(e) => return Err(Error::io("wait for", &self.program, &e)),
            }
            let why = if deadline.is_none_or(|d| Instant::now() > d) {
                format!("it did not finish within {} s", self.limit.as_secs())
            } else if stdout.metadata().is_ok_and(|m| m.len() > MAX_BLOB) {
                "the compiled policy is too large".to_owned()
            } else {
                std::thread::sleep(pause);
                pause = pause.saturating_mul(2).min(Duration::from_millis(10));
                continue;
            };
            // Best effort: a process that cannot be killed cannot be waited for either.
            let _ = child.kill();
            let _ = child.wait();
            return Err(
                Error::new(Kind::DoesNotCompile, format!("apparmor_parser: {why}"))
                    .hint("simplify the profile, or raise parser_timeout"),
            );
        }
    }
}

fn memory(name: &str) -> std::io::Result<File> {
    Ok(File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?))
}

/// What was written to a memory file, at most `max` bytes.
fn contents(mut file: File, max: u64) -> std::io::Result<Vec<u8>> {
    file.rewind()?;
    trusted::bounded(&file, max)?.ok_or_else(|| std::io::Error::other("its output is too large"))
}

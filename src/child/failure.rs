//! Why a run of another program failed.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::child::limits::{Limit, Limits, MAX_OUTPUT};
use crate::error::{Error, Kind, foreign};

/// A run that failed.
#[derive(Debug)]
pub struct ChildFailure {
    /// The base name of the program.
    pub program: String,
    /// Why it failed.
    pub cause: Cause,
}

/// Why a run failed.
#[derive(Debug)]
pub enum Cause {
    /// The program could not be started or waited for.
    System(Error),
    /// The program exceeded a limit.
    Limit(Limit),
    /// The program reported a failure.
    Exit {
        /// Its exit status.
        status: ExitStatus,
        /// The first 64 KiB of its standard error.
        messages: String,
    },
}

impl ChildFailure {
    /// The limit that the program exceeded, if that is the cause.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        match self.cause {
            Cause::Limit(limit) => Some(limit),
            Cause::System(_) | Cause::Exit { .. } => None,
        }
    }

    /// The program's standard error, if it reported the failure itself.
    #[must_use]
    pub fn messages(&self) -> &str {
        match &self.cause {
            Cause::Exit { messages, .. } => messages,
            Cause::System(_) | Cause::Limit(_) => "",
        }
    }
}

impl From<ChildFailure> for Error {
    fn from(failure: ChildFailure) -> Self {
        let why = match failure.cause {
            Cause::System(e) => return e,
            Cause::Limit(limit) => limit.to_string(),
            Cause::Exit { status, messages } => {
                // The text is cut to 300 bytes, so warnings are left out.
                let is_warning = |line: &&str| line.starts_with("Warning");
                let reasons: Vec<&str> = messages.lines().filter(|l| !is_warning(l)).collect();
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

impl Cause {
    /// The cause of a failed run that has ended, after it wrote `written` bytes.
    pub(super) fn of(status: ExitStatus, written: u64, messages: String, limits: Limits) -> Self {
        let signal = status.signal();
        if signal == Some(libc::SIGXCPU) {
            return Self::Limit(limits.processor_time_limit());
        }
        // If our caller ignores SIGXFSZ, the child's writes fail instead.
        if signal == Some(libc::SIGXFSZ) || written >= MAX_OUTPUT {
            return Self::Limit(Limits::output_limit());
        }
        if is_out_of_memory(&messages) {
            return Self::Limit(limits.memory_limit());
        }
        Self::Exit { status, messages }
    }
}

/// Whether the messages say that an allocation failed: those of the C++ library, of the parser's
/// lexer, of the parser itself, and of the dynamic loader.
fn is_out_of_memory(messages: &str) -> bool {
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

//! The wrapper: `oci-apparmor-runtime`, called by an engine in the place of runc or crun.
//!
//! It reads the command line as the low-level runtime would, does its own work where a process is
//! about to start, and becomes the low-level runtime by exec(2): same process id, descriptors and
//! environment. Whatever is none of its business is handed on as it came.

pub mod advisories;
pub mod argv;
mod create;
mod delete;
mod exec;
mod kept;
pub mod locate;
pub mod marker;
pub mod options;
mod restore;
mod scanner;
mod start;
mod verify;
mod watch;
mod watcher;

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use crate::error::{Error, Kind, Result, reason};
use crate::node::Node;
use crate::report::{self, EngineLog};
use crate::runtime::argv::{Line, Scanned};
use crate::runtime::locate::Located;
use crate::runtime::options::Subcommand;
use crate::settings::{Configuration, RuntimeKind, Settings};

/// What becomes of a command line that is ours.
enum Next {
    /// It is handed on as it came.
    HandOn,
    /// This line is handed on.
    HandOnAs(Line),
    /// All is done; the exit code of the runtime, which was waited for.
    Done(u8),
}

/// Who to tell about a refusal, and what of.
struct Context {
    log: EngineLog,
    what: String,
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    marker::carry();
    report::on_panic();
    let mut words = env::args_os();
    let argv0 = words.next().unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    if watch::is_called_by(&argv0) {
        return watch::main(&argv0, &words);
    }
    let mut context = Context {
        log: EngineLog::default(),
        what: "the call".to_owned(),
    };
    match run(&argv0, &words, &mut context) {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            report::refusal(&context.what, &e, &context.log);
            // What runc and crun exit with.
            ExitCode::from(1)
        }
    }
}

/// Does everything; returns only where the runtime was waited for, or is not to be started.
fn run(argv0: &OsStr, words: &[OsString], context: &mut Context) -> Result<u8> {
    let Configuration { settings, runtimes } = Configuration::load();
    let located = locate::locate(argv0, &runtimes);
    let located = located.map(|found| kept::runtime(found, argv0, &runtimes, words));
    let kind = match &located {
        Ok(runtime) => runtime.kind,
        // Only for where to report that there is none.
        Err(_) => locate::meant(argv0, &runtimes).unwrap_or(RuntimeKind::Runc),
    };
    let scan = argv::scan(kind, words);
    context.log = scan.log;
    if let Ok(Scanned::Ours(line)) = &scan.result {
        context.what = format!("{} of container {}", line.subcommand.name(), line.id);
    }
    let runtime = located?;
    let line = match scan.result? {
        Scanned::HandOn => return Err(become_runtime(&runtime, words)),
        Scanned::Ours(line) => line,
    };
    // What a broken configuration demands is unknown, so nothing new starts. A container that
    // exists goes on, with what was decided when it was made: health checks and `kubectl exec`
    // must not fail.
    let lenient = |settings: Result<Settings>| Node::with(settings.unwrap_or_default());
    let next = match line.subcommand {
        Subcommand::Create | Subcommand::Run | Subcommand::Restore => {
            create::prepare(&runtime, line, &Node::with(settings?))?
        }
        Subcommand::Exec => exec::prepare(&runtime, line, &lenient(settings))?,
        Subcommand::Start => start::carry_out(&runtime, &line, words, &lenient(settings))?,
        Subcommand::Delete => delete::carry_out(&runtime, &line, words)?,
    };
    match next {
        Next::HandOn => Err(become_runtime(&runtime, words)),
        Next::HandOnAs(line) => Err(become_runtime(&runtime, &line.words())),
        Next::Done(code) => Ok(code),
    }
}

/// The low-level runtime, called with these words. Its name decides what crun does (krun, wasm).
fn command(runtime: &Located, words: &[OsString]) -> Command {
    let named = runtime.program.file_name() == Some(OsStr::new(runtime.kind.name()));
    let argv0 = if named {
        runtime.program.as_path()
    } else {
        Path::new(runtime.kind.name())
    };
    let mut command = Command::new(&runtime.program);
    command.arg0(argv0).args(words);
    command
}

/// The exit code of a runtime that was waited for, in a shell's convention for signals.
///
/// An engine that ignores SIGCHLD lets the kernel reap; only `failed` can then tell.
fn exit_code(
    status: std::io::Result<ExitStatus>,
    program: &Path,
    failed: impl Fn() -> bool,
) -> Result<u8> {
    let code = match status {
        Ok(status) => status
            .code()
            .or(status.signal().map(|s| s.saturating_add(128))),
        Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Some(i32::from(failed())),
        Err(e) => return Err(Error::io("run", program, &e)),
    };
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Becomes the low-level runtime; returns only if that fails.
fn become_runtime(runtime: &Located, words: &[OsString]) -> Error {
    // The standard library's exec also undoes what it did to SIGPIPE at our start; a plain
    // execve(2) would leave it ignored in the container.
    let error = command(runtime, words).exec();
    Error::new(
        Kind::Internal,
        format!(
            "cannot execute {}: {}",
            runtime.program.display(),
            reason(&error)
        ),
    )
}

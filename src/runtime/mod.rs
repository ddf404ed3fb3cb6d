//! The wrapper, `oci-apparmor-runtime`, which engines call instead of runc, crun or youki.
//!
//! It parses the command line as the low-level runtime does, does its own work if a process is about
//! to start, and then becomes the low-level runtime with execve(2): same process id, descriptors and
//! environment. Other calls are passed on unchanged.

pub mod advisories;
pub mod argv;
mod create;
mod creator;
mod delete;
mod exec;
mod handoff;
mod kill;
pub mod locate;
mod new_record;
pub mod own_binary;
mod recover;
mod restore;
mod restored;
mod start;
mod verify;
mod watcher;

use std::env;
use std::ffi::{OsStr, OsString};

use crate::error::Result;
use crate::fs::trusted::CheckedDirectories;
use crate::node::Node;
use crate::report::{self, EngineLog};
use crate::runtime::argv::Scanned;
use crate::runtime::argv::subcommand::Subcommand;
use crate::settings::{Configuration, RuntimeKind, Settings};

/// Where a refusal is reported, and what was refused.
struct Context {
    log: EngineLog,
    what: String,
}

/// Runs the program. Returns its exit code.
#[must_use]
pub fn main() -> u8 {
    report::on_panic();
    let mut words = env::args_os();
    let argv0 = words.next().unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    let mut context = Context {
        log: EngineLog::default(),
        what: "the call".to_owned(),
    };
    match run(&argv0, &words, &mut context) {
        Ok(code) => code,
        Err(e) => {
            report::refusal(&context.what, &e, &context.log);
            // runc and crun exit with 1.
            1
        }
    }
}

/// Handles the call. Returns only if the runtime was run as a child, or cannot be run.
fn run(argv0: &OsStr, words: &[OsString], context: &mut Context) -> Result<u8> {
    let mut checked = CheckedDirectories::default();
    let Configuration { settings, runtimes } = Configuration::load(&mut checked);
    let found = locate::locate_with(argv0, &runtimes, &mut checked);
    let found = found.map(|found| creator::of_container(found, argv0, &runtimes, words));
    let kind = match &found {
        Ok(runtime) => runtime.kind,
        // Only to find the engine's log, where the error is reported.
        Err(_) => locate::named(argv0, &runtimes).unwrap_or(RuntimeKind::Runc),
    };
    let scan = argv::scan(kind, words);
    context.log = scan.log;
    if let Ok(Scanned::Handled(line)) = &scan.result {
        context.what = format!("{} of container {}", line.subcommand.name(), line.id);
    }
    let runtime = found?;
    let line = match scan.result? {
        Scanned::PassThrough => return Err(handoff::exec(&runtime, words)),
        Scanned::Handled(line) => line,
    };
    // An unusable configuration refuses new containers, since its demands are unknown. Existing
    // containers keep what was decided for them: health checks and `kubectl exec` must not fail.
    let lenient = |settings: Result<Settings>| Node::with(settings.unwrap_or_default());
    match line.subcommand {
        Subcommand::Create | Subcommand::Run | Subcommand::Restore => {
            create::carry_out(&runtime, line, words, &Node::with(settings?))
        }
        Subcommand::Exec => exec::carry_out(&runtime, line, words, &lenient(settings)),
        Subcommand::Start => start::carry_out(&runtime, &line, words, &lenient(settings)),
        Subcommand::Delete => delete::carry_out(&runtime, &line, words),
    }
}

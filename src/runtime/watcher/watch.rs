//! What a watcher does: it waits until the watched process has ended, and then verifies the container.

use std::io;
use std::time::{Duration, Instant};

use crate::containers::processes::ProcessSet;
use crate::containers::record::{ContainerKey, Record};
use crate::containers::records;
use crate::containers::runtime_state::{self, RuntimeState};
use crate::error::{Error, Result};
use crate::node::Node;
use crate::report::{self, EngineLog};
use crate::runtime::argv::subcommand::Subcommand;
use crate::runtime::kill;
use crate::runtime::locate::RuntimeProgram;
use crate::runtime::restored::RestoredContainer;
use crate::runtime::verify::{ContainerProcess, HOOKS_LIMIT};
use crate::runtime::watcher::arguments::WatcherArguments;
use crate::runtime::watcher::runtime_process::{RuntimeCall, watched_process_ends};
use crate::runtime::watcher::spawn;
use crate::settings::{RuntimeKind, Settings, Verify};

/// The pause between two looks, at first and when something takes longer.
const PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How long a runtime without its caller may go on with a `restore`. CRIU reads whole images.
const RESTORE_LIMIT: Duration = Duration::from_secs(600);

/// How long no call of the runtime must have been seen before it counts as ended. A process that is
/// about to execute the runtime may look like none for a moment.
const NOT_SEEN: Duration = Duration::from_millis(300);

/// A watcher at work.
struct Watcher<'w> {
    arguments: &'w WatcherArguments,
    record: Record,
    runtime: RuntimeProgram,
    /// The call of the runtime, unless the wrapper becomes it.
    call: Option<RuntimeCall>,
}

/// Watches. All that may fail is done before the watcher reports that it is ready.
pub(super) fn watch(arguments: &WatcherArguments) -> Option<()> {
    let key = ContainerKey {
        root: &arguments.root,
        id: &arguments.id,
    };
    let is_it = |r: &Record| r.writer.to_string() == arguments.writer && r.time == arguments.time;
    let record = records::read(key).filter(is_it)?;
    let runtime = RuntimeProgram {
        kind: RuntimeKind::named(&record.runtime)?,
        program: arguments.program.clone(),
    };
    let watcher = Watcher {
        arguments,
        record,
        runtime,
        call: arguments
            .calls_the_runtime()
            .then(|| RuntimeCall::by_parent(&arguments.words)),
    };
    match arguments.subcommand {
        Subcommand::Run => watcher.run(),
        Subcommand::Start => watcher.start(),
        Subcommand::Restore => watcher.restore(),
        Subcommand::Create | Subcommand::Exec | Subcommand::Delete => None,
    }
}

/// The node. Read only when it is needed: most watchers are dismissed before.
fn node() -> Node {
    Node::with(Settings::load().unwrap_or_default())
}

impl Watcher<'_> {
    /// A `run`: the wrapper becomes the runtime. A `run` in the foreground ends when its container
    /// does, and the runtime deletes the container itself.
    fn run(&self) -> Option<()> {
        spawn::report_ready()?;
        let node = node();
        let verifies = !self.record.components.is_empty() && node.settings.verify != Verify::Off;
        if !verifies || !self.verify_first_process(&node) {
            watched_process_ends(None);
        }
        self.forget_if_gone()
    }

    /// Verifies the container's process as soon as there is one; whether the runtime has ended.
    fn verify_first_process(&self, node: &Node) -> bool {
        let mut process: Option<ContainerProcess> = None;
        let mut pause = PAUSE;
        loop {
            let ended = watched_process_ends(Some(pause));
            pause = longer(pause);
            let state = match self.state() {
                Ok(state) => state,
                // The runtime may be writing its state, unless it has ended.
                Err(why) if ended && process.is_none() => {
                    if !records::is_outdated(&self.record) {
                        self.refuse(why, Ok(ProcessSet::default()));
                    }
                    return true;
                }
                Err(_) => None,
            };
            let awaits_start = state.as_ref().is_some_and(|state| state.awaits_start);
            if let (None, Some(pid)) = (&process, state.and_then(|state| state.pid)) {
                // The process may be that of a later container with this id.
                if records::is_outdated(&self.record) {
                    return ended;
                }
                process = match ContainerProcess::open(pid) {
                    Ok(found) => found,
                    Err(why) => {
                        self.refuse(why, ProcessSet::of(pid, &self.record.id));
                        return ended;
                    }
                };
            }
            match &process {
                Some(process) if !awaits_start || !process.executes_the_runtime() => {
                    self.verify(process, node);
                    return ended;
                }
                Some(process) if ended => {
                    self.verify_when_started(process, node);
                    return true;
                }
                None if ended => return true,
                _ => {}
            }
        }
    }

    /// A `start`: the wrapper calls the runtime and then verifies the container itself.
    fn start(&self) -> Option<()> {
        let pid = self.state().ok()?.and_then(|state| state.pid);
        // If the process has ended, there is nothing to watch.
        let process = pid.map(ContainerProcess::open).transpose().ok()?.flatten();
        spawn::report_ready()?;
        let process = process?;
        watched_process_ends(None);
        self.verify_when_started(&process, &node());
        self.forget_if_gone()
    }

    /// Verifies a container that waited for `start` according to the runtime's state. The state may be
    /// out of date, if the runtime was killed; and a runtime without its caller may go on.
    fn verify_when_started(&self, process: &ContainerProcess, node: &Node) {
        let mut pause = PAUSE;
        let mut last_seen = Instant::now();
        while !process.has_ended() {
            let awaits_start = self
                .state()
                .is_ok_and(|state| state.is_some_and(|state| state.awaits_start));
            if !awaits_start || !process.executes_the_runtime() {
                return self.verify(process, node);
            }
            if self.is_runtime_running() {
                last_seen = Instant::now();
            } else if last_seen.elapsed() > HOOKS_LIMIT {
                // It was not started. The next `start` has its own watcher.
                return;
            }
            std::thread::sleep(pause);
            pause = longer(pause);
        }
    }

    /// A `restore`: the wrapper calls the runtime and then verifies every thread itself.
    fn restore(&self) -> Option<()> {
        let deletion = &self.arguments.deletion;
        let container = RestoredContainer::expected(&self.runtime, deletion, &self.record).ok()?;
        spawn::report_ready()?;
        watched_process_ends(None);
        let (mut pause, orphaned) = (PAUSE, Instant::now());
        let mut last_seen = orphaned;
        while last_seen.elapsed() < NOT_SEEN && orphaned.elapsed() < RESTORE_LIMIT {
            if self.is_runtime_running() {
                last_seen = Instant::now();
            }
            std::thread::sleep(pause);
            pause = longer(pause);
        }
        if let Err(why) = container.settle(&node()) {
            self.report(&why);
        }
        Some(())
    }

    fn state(&self) -> Result<Option<RuntimeState>> {
        runtime_state::read(self.runtime.kind, self.record.container_key())
    }

    fn is_runtime_running(&self) -> bool {
        let call = self.call.as_ref();
        call.is_some_and(|call| call.is_running(&self.runtime))
    }

    fn verify(&self, process: &ContainerProcess, node: &Node) {
        if let Err(why) = process.verify(&self.record, node) {
            let deletion = &self.arguments.deletion;
            let gone = process.kill_and_delete(&self.runtime, deletion, &self.record);
            self.report_refusal(why, gone);
        }
    }

    /// Kills and deletes a container that cannot be verified.
    fn refuse(&self, why: Error, processes: io::Result<ProcessSet>) {
        let deletion = &self.arguments.deletion;
        let gone = kill::kill_and_delete(&self.runtime, deletion, processes, &self.record);
        self.report_refusal(why, gone);
    }

    fn report_refusal(&self, why: Error, gone: bool) {
        self.report(&why.with_remedy(kill::remedy(gone, &self.runtime, &self.record)));
    }

    fn report(&self, why: &Error) {
        let what = format!(
            "{} of container {}",
            self.arguments.subcommand.name(),
            self.record.id
        );
        let log = EngineLog {
            log: Some(self.arguments.log.clone()),
            format: Some(self.arguments.log_format.clone()),
        };
        report::refusal(&what, why, &log);
    }

    /// Removes the record if the container is gone.
    fn forget_if_gone(&self) -> Option<()> {
        match runtime_state::exists(self.record.container_key()).unwrap_or(true) {
            true => Some(()),
            false => records::forget(&self.record).ok(),
        }
    }
}

/// The next pause. It grows by one hundredth of itself, so it is longer after about a second.
fn longer(pause: Duration) -> Duration {
    let step = pause.checked_div(100).unwrap_or_default();
    pause.saturating_add(step).min(LONGEST_PAUSE)
}

//! What a watcher does: it waits until the watched process has ended, and then verifies the container.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::unistd;
use oci_apparmor_entry::fork;

use crate::containers::pidfd::PidFd;
use crate::containers::processes::ProcessSet;
use crate::containers::record::Record;
use crate::containers::records;
use crate::containers::runtime_state::{self, RuntimeState};
use crate::error::{Error, Result};
use crate::node::Node;
use crate::report::{self, EngineLog};
use crate::runtime::argv::RuntimeCommand;
use crate::runtime::kill;
use crate::runtime::locate::RuntimeProgram;
use crate::runtime::restored::RestoredContainer;
use crate::runtime::verify::{ContainerProcess, HOOKS_LIMIT};
use crate::runtime::watcher::NAME;
use crate::runtime::watcher::runtime_process::RuntimeCall;
use crate::runtime::watcher::state_events::StateEvents;
use crate::settings::{Settings, Verify};

/// What a watcher writes when it is ready.
pub(super) const READY: &[u8; 5] = b"ready";

/// The pause between two looks for a runtime whose caller was killed, at first and when it takes
/// longer. It is no child of ours and was started after us, so nothing tells its end.
const PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How long a runtime without its caller may go on with a `restore`. CRIU reads whole images.
const RESTORE_LIMIT: Duration = Duration::from_secs(600);

/// How long a deletion may take that has begun to remove the runtime's state.
const DELETED_WITHIN: Duration = Duration::from_secs(2);

/// How long no call of the runtime must have been seen before it counts as ended. A process that is
/// about to execute the runtime may look like none for a moment.
const NOT_SEEN: Duration = Duration::from_millis(300);

/// The call that a watcher is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WatchedCall<'c> {
    pub(crate) runtime: &'c RuntimeProgram,
    pub(crate) line: &'c RuntimeCommand,
    pub(crate) record: &'c Record,
    pub(crate) settings: &'c Settings,
}

/// What the wrapper does next.
#[derive(Debug)]
pub(super) enum Watched<'w> {
    /// It becomes the runtime.
    Run,
    /// It calls the runtime and then verifies this process of the container itself.
    Start {
        call: RuntimeCall,
        process: &'w ContainerProcess,
    },
    /// It calls the runtime and then verifies every thread itself.
    Restore {
        call: RuntimeCall,
        container: &'w RestoredContainer<'w>,
    },
}

/// A watcher at work.
#[derive(Debug)]
pub(super) struct Watcher<'w> {
    pub(super) call: WatchedCall<'w>,
    pub(super) watched: Watched<'w>,
    /// The process that it watches. A process id could be reused.
    pub(super) wrapper: PidFd,
}

impl Watcher<'_> {
    /// Runs in a copy of the wrapper; returns its exit code. All that may fail is done before it is
    /// ready. If the wrapper has ended by then, it notices that later.
    pub(super) fn main(self, null: File, mut ready: PipeWriter) -> u8 {
        if self.detach(null, &ready).is_err() {
            return 1;
        }
        // What the wrapper has opened is closed, so its own view of the node is of no use.
        let node = Node::with(self.call.settings.clone());
        let verifies = matches!(self.watched, Watched::Run)
            && !self.call.record.components.is_empty()
            && node.settings.verify != Verify::Off;
        let events = verifies.then(|| StateEvents::of(self.call.record.container_key()));
        let _ = ready.write_all(READY);
        drop(ready);
        match &self.watched {
            Watched::Run => self.run(events, &node),
            Watched::Start { call, process } => self.start(call, process, &node),
            Watched::Restore { call, container } => self.restore(call, container, &node),
        }
        0
    }

    /// Leaves the engine's session and directory, and closes its descriptors: an engine waits until the
    /// other ends of its pipes and sockets are closed.
    fn detach(&self, null: File, ready: &PipeWriter) -> io::Result<()> {
        unistd::dup2_stdin(&null)?;
        unistd::dup2_stdout(&null)?;
        unistd::dup2_stderr(&null)?;
        drop(null);
        let mut kept: Vec<BorrowedFd<'_>> = vec![self.wrapper.as_fd(), ready.as_fd()];
        if let Watched::Start { process, .. } = &self.watched {
            kept.push(process.as_fd());
        }
        fork::close_except(&kept)?;
        unistd::setsid()?;
        unistd::chdir("/")?;
        prctl::set_name(NAME)?;
        Ok(())
    }

    /// A `run` in the foreground ends when its container does, and the runtime deletes the container
    /// itself. Without `events` there is nothing to verify.
    fn run(&self, events: Option<StateEvents>, node: &Node) {
        if !events.is_some_and(|events| self.verify_first_process(events, node)) {
            self.wrapper.ends_within(None, None);
        }
        self.forget_if_gone();
    }

    /// Verifies the container's process as soon as there is one; whether the runtime has ended.
    fn verify_first_process(&self, mut events: StateEvents, node: &Node) -> bool {
        let record = self.call.record;
        let mut process: Option<ContainerProcess> = None;
        loop {
            let ended = events.wait(&self.wrapper);
            if process.is_none() {
                let state = match self.state() {
                    Ok(state) => state,
                    // The runtime may be writing its state, unless it has ended.
                    Err(_) if !ended => None,
                    Err(_) => match self.final_state() {
                        Ok(state) => state,
                        Err(why) => {
                            self.refuse(why, Ok(ProcessSet::default()));
                            return true;
                        }
                    },
                };
                if let Some(pid) = state.and_then(|state| state.pid) {
                    // The process may be that of a later container with this id.
                    if records::is_outdated(record) {
                        return ended;
                    }
                    process = match ContainerProcess::open(pid) {
                        Ok(found) => found,
                        Err(why) => {
                            self.refuse(why, ProcessSet::of(pid, &record.id));
                            return ended;
                        }
                    };
                }
            }
            match &process {
                Some(process) if self.is_started(process) => {
                    drop(events);
                    self.verify(process, node);
                    return ended;
                }
                Some(process) if ended => {
                    self.verify_when_started(process, None, node);
                    return true;
                }
                None if ended => return true,
                _ => {}
            }
        }
    }

    /// The state that a runtime has left, or none if the container was deleted. `delete` removes
    /// the files of the state one after the other, so one that cannot be read is read again.
    fn final_state(&self) -> Result<Option<RuntimeState>> {
        let (mut pause, ended) = (PAUSE, Instant::now());
        loop {
            match self.state() {
                Err(_) if records::is_outdated(self.call.record) => return Ok(None),
                Err(_) if ended.elapsed() < DELETED_WITHIN => std::thread::sleep(pause),
                state => return state,
            }
            pause = longer(pause);
        }
    }

    /// Whether a container does not wait for `start` any more: according to the runtime's state, or
    /// because it executes its own program.
    fn is_started(&self, process: &ContainerProcess) -> bool {
        let awaits_start = runtime_state::awaits_start(self.call.record.container_key());
        !awaits_start.unwrap_or(false) || !process.executes_the_runtime()
    }

    fn start(&self, call: &RuntimeCall, process: &ContainerProcess, node: &Node) {
        self.wrapper.ends_within(None, None);
        self.verify_when_started(process, Some(call), node);
        self.forget_if_gone();
    }

    /// Verifies a container that waited for `start` according to the runtime's state. The state may be
    /// out of date, if the runtime was killed; and a runtime without its caller may go on.
    fn verify_when_started(
        &self,
        process: &ContainerProcess,
        call: Option<&RuntimeCall>,
        node: &Node,
    ) {
        let mut pause = PAUSE;
        let mut last_seen = Instant::now();
        while !process.has_ended() {
            if self.is_started(process) {
                return self.verify(process, node);
            }
            if call.is_some_and(|call| call.is_running(self.call.runtime)) {
                last_seen = Instant::now();
            } else if last_seen.elapsed() > HOOKS_LIMIT {
                // It was not started. The next `start` has its own watcher.
                return;
            }
            process.ends_within(pause);
            pause = longer(pause);
        }
    }

    fn restore(&self, call: &RuntimeCall, container: &RestoredContainer<'_>, node: &Node) {
        self.wrapper.ends_within(None, None);
        let (mut pause, orphaned) = (PAUSE, Instant::now());
        let mut last_seen = orphaned;
        while last_seen.elapsed() < NOT_SEEN && orphaned.elapsed() < RESTORE_LIMIT {
            if call.is_running(self.call.runtime) {
                last_seen = Instant::now();
            }
            std::thread::sleep(pause);
            pause = longer(pause);
        }
        if let Err(why) = container.settle(node) {
            self.report(&why);
        }
    }

    fn state(&self) -> Result<Option<RuntimeState>> {
        runtime_state::read(self.call.runtime.kind, self.call.record.container_key())
    }

    fn deletion(&self) -> Vec<OsString> {
        self.call.line.deletion()
    }

    fn verify(&self, process: &ContainerProcess, node: &Node) {
        let (runtime, record) = (self.call.runtime, self.call.record);
        if let Err(why) = process.verify(record, node) {
            let gone = process.kill_and_delete(runtime, &self.deletion(), record);
            self.report_refusal(why, gone);
        }
    }

    /// Kills and deletes a container that cannot be verified.
    fn refuse(&self, why: Error, processes: io::Result<ProcessSet>) {
        let (runtime, record) = (self.call.runtime, self.call.record);
        let gone = kill::kill_and_delete(runtime, &self.deletion(), processes, record);
        self.report_refusal(why, gone);
    }

    fn report_refusal(&self, why: Error, gone: bool) {
        let remedy = kill::remedy(gone, self.call.runtime, self.call.record);
        self.report(&why.with_remedy(remedy));
    }

    fn report(&self, why: &Error) {
        let line = self.call.line;
        let what = format!("{} of container {}", line.subcommand.name(), line.id);
        let log = EngineLog {
            log: line.global("log").map(ToOwned::to_owned),
            format: line.global("log-format").map(ToOwned::to_owned),
        };
        report::refusal(&what, why, &log);
    }

    /// Removes the record if the container is gone. If that fails, `gc` removes it later.
    fn forget_if_gone(&self) {
        if !runtime_state::exists(self.call.record.container_key()).unwrap_or(true) {
            let _ = records::forget(self.call.record);
        }
    }
}

/// The next pause. It grows by one hundredth of itself, so it is longer after about a second.
fn longer(pause: Duration) -> Duration {
    let step = pause.checked_div(100).unwrap_or_default();
    pause.saturating_add(step).min(LONGEST_PAUSE)
}

//! The kernel's trace of when a container's process gets its label, and of what follows.

use std::fs;
use std::path::Path;

use crate::support::containers::run;

const TRACING: &str = "/sys/kernel/tracing";
const PROBES: [&str; 2] = ["commit_creds", "proc_pid_attr_read"];
const EVENTS: [&str; 4] = [
    "kprobes/commit_creds",
    "kprobes/proc_pid_attr_read",
    "sched/sched_process_exec",
    "sched/sched_process_exit",
];

fn set(file: &str, value: &str) {
    let path = Path::new(TRACING).join(file);
    fs::write(&path, value).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
}

/// One line of the trace: `true-123 [000] ..... 45.678901: sched_process_exit: comm=true pid=123`.
pub(crate) struct Event<'t> {
    pub(crate) comm: &'t str,
    pub(crate) pid: &'t str,
    pub(crate) milliseconds: f64,
    pub(crate) name: &'t str,
    pub(crate) rest: &'t str,
}

impl<'t> Event<'t> {
    fn of(line: &'t str) -> Option<Self> {
        let (task, rest) = line.split_once(" [")?;
        let (before, rest) = rest.split_once(": ")?;
        let (name, rest) = rest.split_once(": ")?;
        let seconds: f64 = before.rsplit_once(' ')?.1.parse().ok()?;
        let (comm, pid) = task.trim().rsplit_once('-')?;
        Some(Self {
            comm,
            pid,
            milliseconds: seconds * 1e3,
            name,
            rest,
        })
    }
}

/// Lets the kernel trace while this exists.
pub(crate) struct Trace;

impl Trace {
    pub(crate) fn prepare() -> Self {
        if !Path::new(TRACING).join("trace").exists() {
            run("mount", ["-t", "tracefs", "tracefs", TRACING]).ok();
        }
        let probes = PROBES.map(|function| format!("p:{function} {function}\n"));
        set("kprobe_events", &probes.concat());
        for event in EVENTS {
            set(&format!("events/{event}/enable"), "1");
        }
        Self
    }

    pub(crate) fn start(&self) {
        set("trace", "");
        set("tracing_on", "1");
    }

    pub(crate) fn stop(&self) -> String {
        set("tracing_on", "0");
        self.text()
    }

    pub(crate) fn text(&self) -> String {
        fs::read_to_string(Path::new(TRACING).join("trace")).unwrap()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        for event in EVENTS {
            set(&format!("events/{event}/enable"), "0");
        }
        set("kprobe_events", "");
    }
}

/// The events of a trace.
pub(crate) struct Events<'t> {
    trace: &'t str,
    pub(crate) all: Vec<Event<'t>>,
}

impl<'t> Events<'t> {
    pub(crate) fn of(trace: &'t str) -> Self {
        let all = trace.lines().filter_map(Event::of).collect();
        Self { trace, all }
    }

    /// The place of the first event of this name.
    pub(crate) fn at(&self, name: &str, pid: &str) -> usize {
        let found = self.all.iter().position(|e| e.name == name && e.pid == pid);
        found.unwrap_or_else(|| panic!("{name} of {pid} is missing in\n{}", self.trace))
    }

    /// When the container's process got its label: within execve(2), in `commit_creds()`, a little
    /// before the kernel reports the execve(2) (`begin_new_exec()` and `exec_binprm()` in fs/exec.c).
    pub(crate) fn labelled(&self, pid: &str) -> f64 {
        let before = &self.all[..self.at("sched_process_exec", pid)];
        let set = before
            .iter()
            .rfind(|event| event.name == "commit_creds" && event.pid == pid);
        set.unwrap_or_else(|| panic!("commit_creds of {pid} is missing in\n{}", self.trace))
            .milliseconds
    }
}

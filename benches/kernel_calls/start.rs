//! How soon `start` ends after the container's process executes its program, by the kernel's trace.
//!
//! The trace shows an execve(2) at its end (`exec_binprm()` in fs/exec.c), and the new label is there a
//! little earlier. So the wrapper may have read it, and ended, before the event.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::containers::{NAME, Way, prepare};
use crate::support::containers::{RUNTIMES, run};
use crate::times::{Times, command, found};

const TRACING: &str = "/sys/kernel/tracing";

fn set(file: &str, value: &str) {
    let path = Path::new(TRACING).join(file);
    fs::write(&path, value).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
}

/// One line of the trace, in milliseconds:
/// `true-123 [000] ..... 45.678901: sched_process_exec: filename=/bin/true pid=123 old_pid=123`.
struct Event<'t> {
    at: f64,
    name: &'t str,
    rest: &'t str,
}

impl<'t> Event<'t> {
    fn of(line: &'t str) -> Option<Self> {
        let (before, rest) = line.split_once(": sched_process_")?;
        let at: f64 = before.rsplit_once(' ')?.1.parse().ok()?;
        let (name, rest) = rest.split_once(": ")?;
        Some(Self {
            at: at * 1e3,
            name,
            rest,
        })
    }

    fn is(&self, name: &str, pid: &str) -> bool {
        let word = format!("pid={pid}");
        self.name == name && self.rest.split(' ').any(|found| found == word)
    }
}

/// One `start`: when it ended after the process's execve(2), and after the later of that and the end
/// of the runtime.
fn once(way: &Way, runtime: &str) -> (f64, f64) {
    way.create();
    let pid = fs::read_to_string(way.pid_file()).unwrap();
    set("trace", "");
    set("tracing_on", "1");
    let mut start = command(&way.words(&["start", NAME])).spawn().unwrap();
    let called = start.id().to_string();
    assert!(start.wait().unwrap().success());
    // A runtime alone may end before the process executes its program.
    way.delete();
    set("tracing_on", "0");
    let trace = fs::read_to_string(Path::new(TRACING).join("trace")).unwrap();
    let events: Vec<Event> = trace.lines().filter_map(Event::of).collect();
    let at = |name: &str, pid: &str| {
        let event = events.iter().find(|event| event.is(name, pid));
        let event = event.unwrap_or_else(|| panic!("{name} of {pid} is missing in\n{trace}"));
        event.at
    };
    let (executed, ended) = (at("exec", &pid), at("exit", &called));
    // `called` has the same name: it is the wrapper, or the runtime alone.
    let comm = format!("comm={runtime} ");
    let of_runtime = events.iter().filter(|event| {
        event.rest.starts_with(&comm) && !event.is("exit", &called) && event.at <= ended
    });
    let latest = of_runtime.map(|event| event.at).fold(executed, f64::max);
    (ended - executed, ended - latest)
}

pub(crate) fn measure(rounds: usize) -> Value {
    prepare();
    if !Path::new(TRACING).join("trace").exists() {
        run("mount", ["-t", "tracefs", "tracefs", TRACING]).ok();
    }
    for event in ["exec", "exit"] {
        set(&format!("events/sched/sched_process_{event}/enable"), "1");
    }
    println!(
        "{:<16} {:>8} {:>9} {:>32} {:>9}",
        "exec to the end:", "minimum", "median", "exec or runtime's end to the end:", "median"
    );
    let mut rows = Vec::new();
    for runtime in RUNTIMES {
        let ways = [
            ("alone", Way::alone(&[&found(runtime)])),
            ("ours", Way::ours(runtime)),
        ];
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..=rounds {
            for ((_, way), times) in ways.iter().zip(&mut times) {
                let time = once(way, runtime);
                if round > 0 {
                    times.push(time);
                }
            }
        }
        for ((name, _), times) in ways.iter().zip(&times) {
            let whole = Times::new(times.iter().map(|time| time.0));
            let own = Times::new(times.iter().map(|time| time.1));
            println!(
                "{runtime:<8} {name:<7} {:>8.2} {:>9.2} {:>32.2} {:>9.2}",
                whole.minimum(),
                whole.median(),
                own.minimum(),
                own.median()
            );
            rows.push(
                json!({"runtime": runtime, "way": name, "exec_to_end": whole.json(),
                "later_of_exec_and_runtime_to_end": own.json()}),
            );
        }
    }
    for event in ["exec", "exit"] {
        set(&format!("events/sched/sched_process_{event}/enable"), "0");
    }
    json!(rows)
}

//! How soon `start` ends after the container's process has its label, by the kernel's trace. This is
//! within execve(2), in `commit_creds()`, a little before the kernel reports the execve(2)
//! (`begin_new_exec()` and `exec_binprm()` in fs/exec.c).

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::containers::{NAME, Way, prepare};
use crate::samples::Samples;
use crate::support::containers::{RUNTIMES, run};
use crate::times::{Times, command, found};

const TRACING: &str = "/sys/kernel/tracing";
const EVENTS: [&str; 3] = [
    "kprobes/commit_creds",
    "sched/sched_process_exec",
    "sched/sched_process_exit",
];

fn set(file: &str, value: &str) {
    let path = Path::new(TRACING).join(file);
    fs::write(&path, value).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
}

/// One line of the trace: `true-123 [000] ..... 45.678901: sched_process_exit: comm=true pid=123`.
struct Event<'t> {
    pid: &'t str,
    milliseconds: f64,
    name: &'t str,
    rest: &'t str,
}

impl<'t> Event<'t> {
    fn of(line: &'t str) -> Option<Self> {
        let (task, rest) = line.split_once(" [")?;
        let (before, rest) = rest.split_once(": ")?;
        let (name, rest) = rest.split_once(": ")?;
        let seconds: f64 = before.rsplit_once(' ')?.1.parse().ok()?;
        Some(Self {
            pid: task.trim_end().rsplit_once('-')?.1,
            milliseconds: seconds * 1e3,
            name,
            rest,
        })
    }
}

/// One `start`: when it ended after the process had its label, and after the later of that and the
/// end of the runtime.
fn once(way: &Way, runtime: &str) -> (f64, f64) {
    way.create();
    let pid = fs::read_to_string(way.pid_file()).unwrap();
    set("trace", "");
    set("tracing_on", "1");
    let mut start = command(&way.words(&["start", NAME])).spawn().unwrap();
    let called = start.id().to_string();
    assert!(start.wait().unwrap().success());
    // A runtime alone may end before that.
    way.delete();
    set("tracing_on", "0");
    let trace = fs::read_to_string(Path::new(TRACING).join("trace")).unwrap();
    let events: Vec<Event> = trace.lines().filter_map(Event::of).collect();
    let at = |name: &str, pid: &str| {
        let found = events.iter().position(|e| e.name == name && e.pid == pid);
        found.unwrap_or_else(|| panic!("{name} of {pid} is missing in\n{trace}"))
    };
    let labelled = events[..at("sched_process_exec", &pid)]
        .iter()
        .rfind(|event| event.name == "commit_creds" && event.pid == pid)
        .unwrap_or_else(|| panic!("commit_creds of {pid} is missing in\n{trace}"));
    let end = at("sched_process_exit", &called);
    let ended = events[end].milliseconds;
    // `called` is the wrapper, which has the name of the runtime, or the runtime alone.
    let comm = format!("comm={runtime} ");
    let of_runtime = events[..end]
        .iter()
        .filter(|event| event.rest.starts_with(&comm));
    let later = of_runtime
        .map(|event| event.milliseconds)
        .fold(labelled.milliseconds, f64::max);
    (ended - labelled.milliseconds, ended - later)
}

/// What is measured: from the label, and from the later of the label and the end of the runtime.
const SINCE: [&str; 2] = ["label", "label or runtime"];

fn name(runtime: &str, way: &str, since: &str) -> String {
    format!("start/{runtime}/{way}/{since}")
}

pub(crate) fn measure(samples: &mut Samples, rounds: usize) {
    prepare();
    if !Path::new(TRACING).join("trace").exists() {
        run("mount", ["-t", "tracefs", "tracefs", TRACING]).ok();
    }
    set("kprobe_events", "p:commit_creds commit_creds");
    for event in EVENTS {
        set(&format!("events/{event}/enable"), "1");
    }
    for runtime in RUNTIMES {
        let ways = [
            ("alone", Way::alone(&[&found(runtime)])),
            ("ours", Way::ours(runtime)),
        ];
        // The first round fills caches.
        for (_, way) in &ways {
            once(way, runtime);
        }
        while samples.count(&name(runtime, "ours", SINCE[0])) < rounds {
            for (what, way) in &ways {
                let (label, later) = once(way, runtime);
                samples.add(&name(runtime, what, SINCE[0]), label);
                samples.add(&name(runtime, what, SINCE[1]), later);
            }
            samples.save();
        }
    }
    for event in EVENTS {
        set(&format!("events/{event}/enable"), "0");
    }
    set("kprobe_events", "");
}

pub(crate) fn summary(samples: &Samples) -> Value {
    println!(
        "{:<17} {:>8} {:>9} {:>38} {:>9}",
        "label to the end:", "minimum", "median", "label or runtime's end to the end:", "median"
    );
    let mut rows = Vec::new();
    for runtime in RUNTIMES {
        for way in ["alone", "ours"] {
            let [label, later] = SINCE.map(|since| Times::of(samples, &name(runtime, way, since)));
            let (minimum, median) = (label.minimum(), label.median());
            print!("{runtime:<8} {way:<8} {minimum:>8.2} {median:>9.2}");
            let mut row = json!({"runtime": runtime, "way": way, "label_to_end": label.json()});
            if way == "ours" {
                print!(" {:>38.2} {:>9.2}", later.minimum(), later.median());
                row["later_of_label_and_runtime_to_end"] = later.json();
            }
            println!();
            rows.push(row);
        }
    }
    let rounds = samples.count(&name(RUNTIMES[0], "ours", SINCE[0]));
    json!({"rounds": rounds, "rows": rows})
}

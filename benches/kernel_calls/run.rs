//! How soon the watcher of a `run` has looked at the label after the container's process got it, by
//! the kernel's trace. Nothing waits for it: a process without its label would run for that long.

use std::fs;

use serde_json::{Value, json};

use crate::containers::{NAME, Way, prepare};
use crate::samples::Samples;
use crate::support::containers::{RUNTIMES, wait_for};
use crate::times::{Times, call};
use crate::trace::{Events, Trace};

const WATCHER: &str = "oci-aa-watcher";

fn name(runtime: &str) -> String {
    format!("run/{runtime}/label to look")
}

/// One `run` of a container that goes on.
fn once(trace: &Trace, way: &Way) -> f64 {
    way.bundle.write();
    let (bundle, pid_file) = (way.bundle.path.to_str().unwrap(), way.pid_file());
    let words = ["run", "--detach", "--bundle", bundle, "--pid-file"];
    trace.start();
    call(&way.words(&[&words[..], &[pid_file.to_str().unwrap(), NAME]].concat()));
    let pid = fs::read_to_string(way.pid_file()).unwrap();
    // The watcher may have looked, and ended, before the kernel reports the execve(2).
    let (ended, executed) = (format!("comm={WATCHER} "), format!(" pid={pid} old_pid="));
    wait_for(|| {
        let text = trace.text();
        [&ended, &executed]
            .iter()
            .all(|event| text.contains(*event))
    });
    let text = trace.stop();
    let events = Events::of(&text);
    let labelled = events.labelled(&pid);
    let looked = events.all.iter().find(|event| {
        let reads = event.name == "proc_pid_attr_read" && event.comm == WATCHER;
        reads && event.milliseconds >= labelled
    });
    let looked = looked.unwrap_or_else(|| panic!("no look at {pid} after its label in\n{text}"));
    call(&way.words(&["kill", NAME, "KILL"]));
    way.delete();
    looked.milliseconds - labelled
}

pub(crate) fn measure(samples: &mut Samples, rounds: usize) {
    prepare();
    let trace = Trace::prepare();
    for runtime in RUNTIMES {
        let mut way = Way::ours(runtime);
        way.bundle.config["process"]["args"] = json!(["/bin/busybox", "sleep", "600"]);
        // The first round fills caches.
        once(&trace, &way);
        while samples.count(&name(runtime)) < rounds {
            samples.add(&name(runtime), once(&trace, &way));
            samples.save();
        }
    }
}

pub(crate) fn summary(samples: &Samples) -> Value {
    println!(
        "{:<26} {:>8} {:>9}",
        "label to the look:", "minimum", "median"
    );
    let mut rows = Vec::new();
    for runtime in RUNTIMES {
        let times = Times::of(samples, &name(runtime));
        println!(
            "{runtime:<26} {:>8.2} {:>9.2}",
            times.minimum(),
            times.median()
        );
        rows.push(json!({"runtime": runtime, "label_to_look": times.json()}));
    }
    json!({"rounds": samples.count(&name(RUNTIMES[0])), "rows": rows})
}

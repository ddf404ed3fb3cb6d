//! How soon `start` ends after the container's process has its label, by the kernel's trace.

use std::fs;

use serde_json::{Value, json};

use crate::containers::{NAME, Way, prepare};
use crate::samples::Samples;
use crate::support::containers::RUNTIMES;
use crate::times::{Times, command, found};
use crate::trace::{Events, Trace};

/// One `start`: when it ended after the process had its label, and after the later of that and the
/// end of the runtime.
fn once(trace: &Trace, way: &Way, runtime: &str) -> (f64, f64) {
    way.create();
    let pid = fs::read_to_string(way.pid_file()).unwrap();
    trace.start();
    let mut start = command(&way.words(&["start", NAME])).spawn().unwrap();
    let called = start.id().to_string();
    assert!(start.wait().unwrap().success());
    // A runtime alone may end before that.
    way.delete();
    let text = trace.stop();
    let events = Events::of(&text);
    let labelled = events.labelled(&pid);
    let end = events.at("sched_process_exit", &called);
    let ended = events.all[end].milliseconds;
    // `called` is the wrapper, which has the name of the runtime, or the runtime alone.
    let comm = format!("comm={runtime} ");
    let of_runtime = events.all[..end]
        .iter()
        .filter(|event| event.rest.starts_with(&comm));
    let later = of_runtime
        .map(|event| event.milliseconds)
        .fold(labelled, f64::max);
    (ended - labelled, ended - later)
}

/// What is measured: from the label, and from the later of the label and the end of the runtime.
const SINCE: [&str; 2] = ["label", "label or runtime"];

fn name(runtime: &str, way: &str, since: &str) -> String {
    format!("start/{runtime}/{way}/{since}")
}

pub(crate) fn measure(samples: &mut Samples, rounds: usize) {
    prepare();
    let trace = Trace::prepare();
    for runtime in RUNTIMES {
        let ways = [
            ("alone", Way::alone(&[&found(runtime)])),
            ("ours", Way::ours(runtime)),
        ];
        // The first round fills caches.
        for (_, way) in &ways {
            once(&trace, way, runtime);
        }
        while samples.count(&name(runtime, "ours", SINCE[0])) < rounds {
            for (what, way) in &ways {
                let (label, later) = once(&trace, way, runtime);
                samples.add(&name(runtime, what, SINCE[0]), label);
                samples.add(&name(runtime, what, SINCE[1]), later);
            }
            samples.save();
        }
    }
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

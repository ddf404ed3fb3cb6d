//! Whole containers, with and without the wrapper.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::samples::{Samples, Thing};
use crate::support::containers::*;
use crate::times::{Times, call, found, rounded, settle};

pub(crate) const NAME: &str = "bench-calls";

/// Becomes the program that its first word names, and does nothing else.
const NULL_WRAPPER: &str = r#"
use std::os::unix::process::CommandExt;
fn main() {
    let mut words = std::env::args_os().skip(1);
    let error = std::process::Command::new(words.next().unwrap()).args(words).exec();
    panic!("{error}");
}
"#;

/// How a runtime is called, with a bundle of its own.
pub(crate) struct Way {
    program: Vec<String>,
    pub(crate) bundle: Bundle,
}

impl Way {
    /// Without us, the engine has written the profile into `config.json`.
    pub(crate) fn alone(program: &[&Path]) -> Self {
        let mut bundle = Bundle::new("bench-alone", &["/bin/true"]);
        bundle.config["process"]["apparmorProfile"] = json!(NAME);
        bundle.write();
        Self {
            program: program
                .iter()
                .map(|p| p.to_str().unwrap().to_owned())
                .collect(),
            bundle,
        }
    }

    pub(crate) fn ours(runtime: &str) -> Self {
        let annotations = [("oci-apparmor/profile", NAME)];
        Self {
            program: vec![wrapper(runtime).to_str().unwrap().to_owned()],
            bundle: Bundle::annotated("bench-ours", &["/bin/true"], &annotations),
        }
    }

    pub(crate) fn words<'w>(&'w self, rest: &[&'w str]) -> Vec<&'w str> {
        let program = self.program.iter().map(String::as_str);
        program.chain(rest.iter().copied()).collect()
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.bundle.path.join("pid")
    }

    /// Creates a container, from a `config.json` as the engine writes it.
    pub(crate) fn create(&self) -> Duration {
        self.bundle.write();
        let (bundle, pid_file) = (self.bundle.path.to_str().unwrap(), self.pid_file());
        let pid_file = pid_file.to_str().unwrap();
        call(&self.words(&["create", "--bundle", bundle, "--pid-file", pid_file, NAME]))
    }

    /// Deletes it when it has ended, as engines do. The wait does not count.
    pub(crate) fn delete(&self) -> Duration {
        let pid = fs::read_to_string(self.pid_file()).unwrap();
        let stat = format!("/proc/{pid}/stat");
        wait_for(|| fs::read_to_string(&stat).map_or(true, |text| text.contains(") Z ")));
        call(&self.words(&["delete", NAME]))
    }

    fn create_start_delete(&self) -> Duration {
        self.create() + call(&self.words(&["start", NAME])) + self.delete()
    }

    fn run(&self) -> Duration {
        self.bundle.write();
        let bundle = self.bundle.path.to_str().unwrap();
        let time = call(&self.words(&["run", "--bundle", bundle, NAME]));
        // The watcher of a `run` removes the record after the runtime has ended.
        wait_for(|| record_of(NAME).is_none());
        time
    }
}

/// The profile, and the runtimes that both the wrapper and the others call.
pub(crate) fn prepare() {
    profile(NAME);
    let runtimes = RUNTIMES.map(|name| format!("{name} = {:?}\n", found(name)));
    fs::write(CONFIG, format!("[runtimes]\n{}", runtimes.concat())).unwrap();
    Way::ours("runc").create_start_delete();
    settle();
}

fn null_wrapper() -> PathBuf {
    let (source, program) = (wrapper("null.rs"), wrapper("null"));
    fs::write(&source, NULL_WRAPPER).unwrap();
    let options = "--edition 2024 -C target-feature=+crt-static -C panic=abort -C opt-level=s \
                   -C strip=symbols -o";
    let status = Command::new("rustc")
        .args(options.split_whitespace())
        .arg(&program)
        .arg(source)
        .status();
    assert!(status.expect("rustc").success());
    program
}

/// One call of the null wrapper: the unit of what is added.
const NULL_CALL: &str = "containers/null call";

/// How the runtime is called.
const WAYS: [&str; 3] = ["alone", "null wrapper", "ours"];

/// What is done with each runtime, and how many calls of it that takes.
const SEQUENCES: [(&str, usize); 2] = [("create, start, delete", 3), ("run", 1)];

fn name(runtime: &str, sequence: &str, way: &str) -> String {
    format!("containers/{runtime}/{sequence}/{way}")
}

pub(crate) fn measure(samples: &mut Samples, rounds: usize) {
    prepare();
    let null = null_wrapper();
    let (null_path, busybox) = (null.to_str().unwrap(), "/bin/busybox");
    let ways: Vec<[Way; 3]> = RUNTIMES
        .iter()
        .map(|name| {
            let runtime = found(name);
            let null = Way::alone(&[&null, &runtime]);
            [Way::alone(&[&runtime]), null, Way::ours(name)]
        })
        .collect();
    let null_call = || call(&[null_path, busybox, "true"]);
    let mut things: Vec<Thing<'_>> = vec![(NULL_CALL.to_owned(), Box::new(null_call))];
    for (runtime, ways) in RUNTIMES.iter().zip(&ways) {
        for (sequence, calls) in SEQUENCES {
            for (way, how) in WAYS.iter().zip(ways) {
                let thing: Box<dyn Fn() -> Duration> = match calls {
                    1 => Box::new(|| how.run()),
                    _ => Box::new(|| how.create_start_delete()),
                };
                things.push((name(runtime, sequence, way), thing));
            }
        }
    }
    samples.in_turns(rounds, &things);
}

pub(crate) fn summary(samples: &Samples) -> Value {
    let null_call = Times::of(samples, NULL_CALL);
    println!(
        "one call of the null wrapper: minimum {:.2}, median {:.2}",
        null_call.minimum(),
        null_call.median()
    );
    println!(
        "{:<28} {:>17} {:>17} {:>17} {:>6} {:>16} {:>11}",
        "minimum, median", "alone", "null wrapper", "ours", "ratio", "ours - alone", "null calls"
    );
    let mut rows = Vec::new();
    for (runtime, (sequence, calls)) in RUNTIMES
        .iter()
        .flat_map(|runtime| SEQUENCES.map(|sequence| (runtime, sequence)))
    {
        let times = WAYS.map(|way| Times::of(samples, &name(runtime, sequence, way)));
        let [alone, through_null, ours] = &times;
        let added = (
            ours.minimum() - alone.minimum(),
            ours.median() - alone.median(),
        );
        let null_calls = (added.0 / null_call.minimum(), added.1 / null_call.median());
        let ratios = (
            ours.minimum() / alone.minimum(),
            ours.median() / alone.median(),
        );
        print!("{:<28}", format!("{runtime} {sequence}"));
        for times in &times {
            print!(" {:>8.1} {:>8.1}", times.minimum(), times.median());
        }
        println!(
            " {:>6.2} {:>7.1} {:>8.1} {:>5.1} {:>5.1}",
            ratios.1, added.0, added.1, null_calls.0, null_calls.1
        );
        rows.push(
            json!({"runtime": runtime, "sequence": sequence, "calls": calls,
            "alone": alone.json(), "null_wrapper": through_null.json(), "ours": ours.json(),
            "minimum_ratio": rounded(ratios.0), "median_ratio": rounded(ratios.1),
            "added_in_null_calls": {"minimum": rounded(null_calls.0), "median": rounded(null_calls.1)}}),
        );
    }
    json!({"rounds": samples.count(NULL_CALL), "null_call": null_call.json(), "sequences": rows})
}

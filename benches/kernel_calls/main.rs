//! What the wrapper costs on a kernel with AppArmor, with the real runtimes.
//!
//! ```text
//! cargo bench --bench kernel_calls                            # all parts, 21 rounds
//! cargo bench --bench kernel_calls -- --rounds 501 containers herd=51
//! OCI_APPARMOR_VM_OUT=/var/tmp/out cargo bench --bench kernel_calls -- --rounds 501 \
//!     --samples /var/tmp/out/samples.json --json /var/tmp/out/kernel.json
//! ```
//!
//! | part | what |
//! |---|---|
//! | `containers` | create + start + delete, and `run`, with runc and crun: alone, through a program that only executes the runtime ("null wrapper"), and through the wrapper |
//! | `start` | from the label of the container's process to the end of `start`, by the kernel's trace |
//! | `run` | from the label of the container's process to the look at it by the watcher of `run` |
//! | `load` | a profile that is missing, loaded from our cache and by `apparmor_parser` from its own |
//! | `ensure` | `create` with a profile that is loaded, among 10, 1,000 and 5,000 profiles |
//! | `herd` | 1, 10 and 100 creates of one profile at once: missing, and loaded |
//!
//! `PART=N` measures N rounds of that part; `herd` takes a tenth of the others, since a round of it takes
//! as long as many of theirs. `--samples` keeps all times in a file: a run that is interrupted goes on
//! where it was, and one with more rounds adds what is missing. Times of other programs or of another
//! kernel are dropped.
//!
//! What is compared ran in turns. Like the suites `kernel_*`, this runs in a virtual machine where the
//! host's kernel has no AppArmor (tests/vm/README.md). There, times are some 20 times longer, and only
//! ratios mean something. Of the guest, only `OCI_APPARMOR_VM_OUT` is kept.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::print_stderr
)]
#![allow(missing_docs)]

mod containers;
mod ensure;
mod herd;
mod load;
mod run;
mod samples;
mod start;
mod times;
mod trace;

#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::PathBuf;
use std::process::exit;

use serde_json::{Map, Value, json};

use crate::samples::Samples;
use crate::support::containers::{world, wrapper};

struct Part {
    name: &'static str,
    measure: fn(&mut Samples, usize),
    summary: fn(&Samples) -> Value,
    /// Of how many rounds of the others there is one of it.
    every: usize,
}

const PARTS: [Part; 6] = [
    Part {
        name: "containers",
        measure: containers::measure,
        summary: containers::summary,
        every: 1,
    },
    Part {
        name: "start",
        measure: start::measure,
        summary: start::summary,
        every: 1,
    },
    Part {
        name: "run",
        measure: run::measure,
        summary: run::summary,
        every: 1,
    },
    Part {
        name: "load",
        measure: load::measure,
        summary: load::summary,
        every: 1,
    },
    Part {
        name: "ensure",
        measure: ensure::measure,
        summary: ensure::summary,
        every: 1,
    },
    Part {
        name: "herd",
        measure: herd::measure,
        summary: herd::summary,
        every: 10,
    },
];

#[derive(Default)]
struct Options {
    rounds: usize,
    samples: Option<PathBuf>,
    json: Option<PathBuf>,
    /// Parts, and their rounds if these were given.
    chosen: Vec<(&'static Part, Option<usize>)>,
}

fn main() {
    let options = options();
    let _world = world();
    let linux = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let linux = linux.trim_end();
    let mut samples = Samples::open(options.samples, linux, &wrapper("runc"));
    println!("Linux {linux}; milliseconds");
    let mut found = Map::from_iter([("linux".to_owned(), json!(linux))]);
    for (part, rounds) in options.chosen {
        let rounds = rounds.unwrap_or(options.rounds.div_ceil(part.every));
        (part.measure)(&mut samples, rounds);
        println!("\n{}, {rounds} rounds", part.name);
        found.insert(part.name.to_owned(), (part.summary)(&samples));
    }
    if let Some(path) = options.json {
        fs::write(path, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
    }
}

fn options() -> Options {
    let mut options = Options {
        rounds: 21,
        ..Options::default()
    };
    // Cargo adds `--bench`.
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| usage(&word));
        let number = |text: &str| match text.parse() {
            Ok(0) | Err(_) => usage(&word),
            Ok(number) => number,
        };
        match word.as_str() {
            "--rounds" => options.rounds = number(&value()),
            "--samples" => options.samples = Some(value().into()),
            "--json" => options.json = Some(value().into()),
            _ => {
                let (name, rounds) = match word.split_once('=') {
                    Some((name, rounds)) => (name, Some(number(rounds))),
                    None => (word.as_str(), None),
                };
                let part = PARTS.iter().find(|part| part.name == name);
                let part = part.unwrap_or_else(|| usage(&word));
                options.chosen.push((part, rounds));
            }
        }
    }
    if options.chosen.is_empty() {
        options.chosen.extend(PARTS.iter().map(|part| (part, None)));
    }
    options
}

fn usage(word: &str) -> ! {
    let parts: Vec<String> = PARTS
        .iter()
        .map(|part| format!("[{}[=N]]", part.name))
        .collect();
    eprintln!(
        "cannot use {word}; usage: kernel_calls [--rounds N] [--samples FILE] [--json FILE] {}",
        parts.join(" ")
    );
    exit(2);
}

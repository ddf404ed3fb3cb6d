//! What the wrapper costs on a kernel with AppArmor, with the real runtimes.
//!
//! ```text
//! cargo bench --bench kernel_calls                            # all parts, 21 rounds
//! cargo bench --bench kernel_calls -- --rounds 501 containers herd
//! OCI_APPARMOR_VM_OUT=/var/tmp/out cargo bench --bench kernel_calls -- --json /var/tmp/out/kernel.json
//! ```
//!
//! | part | what |
//! |---|---|
//! | `containers` | create + start + delete, and `run`, with runc and crun: alone, through a program that only executes the runtime ("null wrapper"), and through the wrapper |
//! | `ensure` | `create` with a profile that is loaded, among 10, 1,000 and 5,000 profiles |
//! | `herd` | 1, 10 and 100 creates of one profile at once: missing, and loaded |
//! | `start` | from the label of the container's process to the end of `start`, by the kernel's trace |
//!
//! What is compared ran in turns, in one run. Like the suites `kernel_*`, this runs in a virtual
//! machine where the host's kernel has no AppArmor (tests/vm/README.md). There, times are some 20
//! times longer, and only ratios mean something. Of the guest, only `OCI_APPARMOR_VM_OUT` is kept.

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
mod profiles;
mod start;
mod times;

#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::PathBuf;
use std::process::exit;

use serde_json::{Map, Value, json};

type Part = fn(usize) -> Value;

const PARTS: [(&str, Part); 4] = [
    ("containers", containers::measure),
    ("ensure", profiles::ensure),
    ("herd", profiles::herd),
    ("start", start::measure),
];

fn main() {
    let (mut rounds, mut json, mut chosen) = (21, None::<PathBuf>, Vec::new());
    // Cargo adds `--bench`.
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        match (word.as_str(), PARTS.iter().find(|part| part.0 == word)) {
            (_, Some(part)) => chosen.push(*part),
            ("--rounds", _) => {
                let number = words.next().and_then(|n| n.parse().ok());
                rounds = number.unwrap_or_else(|| usage(&word));
            }
            ("--json", _) => json = Some(words.next().unwrap_or_else(|| usage(&word)).into()),
            _ => usage(&word),
        }
    }
    if chosen.is_empty() {
        chosen.extend(PARTS);
    }
    let _world = support::containers::world();
    let linux = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let linux = linux.trim_end();
    println!("Linux {linux}, {rounds} rounds; milliseconds");
    let mut found = Map::new();
    for (name, measure) in chosen {
        println!("\n{name}");
        found.insert(name.to_owned(), measure(rounds));
    }
    if let Some(path) = json {
        found.insert("linux".to_owned(), json!(linux));
        found.insert("rounds".to_owned(), json!(rounds));
        fs::write(path, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
    }
}

fn usage(word: &str) -> ! {
    eprintln!(
        "cannot use {word}; usage: kernel_calls [--rounds N] [--json FILE] [containers] [ensure] [herd] [start]"
    );
    exit(2);
}

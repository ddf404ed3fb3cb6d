//! What a call of the wrapper and of the hook costs, as whole processes: `benches/run.sh`.
//!
//! ```text
//! cargo bench --bench calls                        # a table of 801 rounds
//! cargo bench --bench calls -- --rounds 101 --json times.json
//! cargo bench --bench calls -- --count             # system calls, instructions and memory
//! cargo bench --bench calls -- --check             # the same, compared with benches/budget.json; and
//!                                                  # whether docs/performance.md is that of the results
//! cargo bench --bench calls -- --budget            # the same, into benches/budget.json
//! cargo bench --bench calls -- --document          # benches/results/*.json into docs/performance.md
//! cargo bench --bench calls -- --beside other=/usr/bin/other-wrapper --etc DIRECTORY
//! ```
//!
//! In each round every contender runs once, so that what else the machine does is shared by all. What
//! is compared is a ratio within one run: minima and medians against a program of the same kind that
//! only executes the runtime ("null wrapper"). The runtime is a program that does nothing.
//!
//! `--beside` measures another program that is called as runc is, in the same run. It has to execute
//! /usr/local/sbin/runc. `--etc` copies a directory into the /etc of the node, for its configuration, and
//! `--variable NAME=VALUE` adds to the environment of its container.
//!
//! No kernel with AppArmor is needed: in a mount namespace of its own, /sys is a tree of files with one
//! loaded profile, as a kernel 6.1 shows it (`node/`). The profile and its source are real, and
//! `apparmor_parser` compiles it once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr
)]
#![allow(missing_docs)]

mod budget;
mod contenders;
mod count;
mod document;
mod memory;
mod node;
mod results;
mod times;

use std::path::PathBuf;
use std::process::{Command, exit};

use crate::budget::Budget;
use crate::results::Results;

/// What is to be measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    rounds: usize,
    json: Option<PathBuf>,
    action: Action,
    /// Names and programs.
    beside: Vec<(String, String)>,
    etc: Option<PathBuf>,
    variables: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Action {
    #[default]
    Time,
    Count,
    Check,
    Budget,
    Document,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["--inside", rest @ ..] = words.as_slice() {
        exit(inside(&options(rest)));
    }
    let options = options(&words);
    if options.action == Action::Document {
        return document::write();
    }
    let node = node::prepare(&options);
    let own = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args([
            "-m",
            "--propagation",
            "private",
            "sh",
            "-c",
            node::ENTER,
            "sh",
        ])
        .arg(node.path())
        .arg(std::env::current_dir().unwrap())
        .arg(own)
        .arg("--inside")
        .args(words)
        .status()
        .expect("unshare(1), of the package util-linux");
    if options.action == Action::Check && !document::is_current() {
        exit(1);
    }
    exit(status.code().unwrap_or(1));
}

/// Measures on the node of files. Returns the exit code.
fn inside(options: &Options) -> i32 {
    node::load();
    let _containers = node::Containers::create();
    let contenders = contenders::all(options);
    let count = || {
        let budget = Budget::of(count::costs(&contenders));
        budget.print();
        budget
    };
    match options.action {
        Action::Count => {
            count();
        }
        Action::Budget => count().write(),
        Action::Check => return i32::from(!count().is_kept()),
        Action::Time | Action::Document => {
            let times = times::measure(&contenders, options.rounds);
            let mut results = Results::new(&contenders, &times, options.rounds);
            results.print();
            if let Some(path) = &options.json {
                results.add(&count());
                results.write(path);
            }
        }
    }
    0
}

fn options(words: &[&str]) -> Options {
    let mut options = Options {
        rounds: 801,
        ..Options::default()
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| usage(word));
        match *word {
            "--rounds" => options.rounds = value().parse().unwrap_or_else(|_| usage(word)),
            "--json" => options.json = Some(value().into()),
            "--beside" => {
                let (name, program) = value().split_once('=').unwrap_or_else(|| usage(word));
                options.beside.push((name.to_owned(), program.to_owned()));
            }
            "--etc" => options.etc = Some(value().into()),
            "--variable" => options.variables.push((*value()).to_owned()),
            "--count" => options.action = Action::Count,
            "--check" => options.action = Action::Check,
            "--budget" => options.action = Action::Budget,
            "--document" => options.action = Action::Document,
            // Of `cargo bench`.
            "--bench" => {}
            _ => usage(word),
        }
    }
    if options.rounds == 0 {
        usage("--rounds 0");
    }
    options
}

fn usage(word: &str) -> ! {
    eprintln!(
        "cannot use {word}; usage: calls [--rounds N] [--json FILE] [--beside NAME=PROGRAM [--etc DIRECTORY] \
         [--variable NAME=VALUE]] [--count | --check | --budget | --document]"
    );
    exit(2);
}

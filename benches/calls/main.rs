//! What a call of the wrapper costs, as whole processes: `benches/run.sh`.
//!
//! ```text
//! cargo bench --bench calls                        # a table of 801 rounds
//! cargo bench --bench calls -- --rounds 101 --json times.json
//! cargo bench --bench calls -- --count             # system calls and instructions
//! cargo bench --bench calls -- --check             # the same, compared with benches/budget.json
//! cargo bench --bench calls -- --document          # both, into docs/performance.md
//! ```
//!
//! In each round every contender runs once, so that what else the machine does is shared by all. What
//! is compared is a ratio within one run: minima and medians against a program of the same kind that
//! only executes the runtime ("null wrapper"). The runtime is a program that does nothing.
//!
//! No kernel with AppArmor is needed: in a mount namespace of its own, /sys is a tree of files with one
//! loaded profile, as a kernel 6.1 shows it (`node.rs`). The profile and its source are real, and
//! `apparmor_parser` compiles it once.

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

mod contenders;
mod count;
mod document;
mod node;
mod times;

use std::path::PathBuf;
use std::process::{Command, exit};

/// What is to be measured.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) json: Option<PathBuf>,
    pub(crate) action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Time,
    Count,
    Check,
    Document,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let ["--inside", rest @ ..] = words
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        let options = options(rest);
        node::load();
        match options.action {
            Action::Time => times::measure(&options).print(),
            Action::Count | Action::Check => exit(count::count(&options)),
            Action::Document => document::write(&options),
        }
        return;
    }
    // It is said before anything is prepared.
    options(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let node = node::prepare();
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
    exit(status.code().unwrap_or(1));
}

fn options(words: &[&str]) -> Options {
    let mut options = Options {
        rounds: 801,
        json: None,
        action: Action::Time,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| usage(word));
        match *word {
            "--rounds" => options.rounds = value().parse().unwrap_or_else(|_| usage(word)),
            "--json" => options.json = Some(value().into()),
            "--count" => options.action = Action::Count,
            "--check" => options.action = Action::Check,
            "--document" => options.action = Action::Document,
            // Of `cargo bench`.
            "--bench" => {}
            _ => usage(word),
        }
    }
    options
}

fn usage(word: &str) -> ! {
    eprintln!(
        "cannot use {word}; usage: calls [--rounds N] [--json FILE] [--count | --check | --document]"
    );
    exit(2);
}

//! Counts what does not depend on the machine's load: system calls (strace) and instructions
//! (valgrind), from the first of the process to the execve(2) of the runtime. The system calls of the
//! processes that it starts count, too, up to the same point.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::{Deserialize, Serialize};

use crate::contenders::Contender;
use crate::memory;
use crate::node::{self, RUNTIME};

/// What a call costs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) system_calls: u64,
    pub(crate) instructions: u64,
    /// The peak, in KiB.
    pub(crate) resident_kib: u64,
}

/// The costs of all calls.
pub(crate) type Costs = BTreeMap<String, Cost>;

/// Counts our calls, as they are when they were made before.
pub(crate) fn costs(contenders: &[Contender]) -> Costs {
    let ours = || contenders.iter().filter(|contender| contender.is_ours);
    for contender in ours() {
        contender.time();
    }
    node::settle();
    for contender in ours() {
        contender.time();
    }
    ours()
        .map(|contender| {
            let cost = Cost {
                system_calls: system_calls(contender),
                instructions: instructions(contender),
                resident_kib: memory::peak(contender)
                    .unwrap_or_else(|| panic!("{}: its memory was not seen", contender.name)),
            };
            (contender.name.clone(), cost)
        })
        .collect()
}

/// An empty directory.
fn empty(path: &str) -> &str {
    let _ = fs::remove_dir_all(path);
    fs::create_dir_all(path).unwrap();
    path
}

fn files(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn system_calls(contender: &Contender) -> u64 {
    let traces = empty("/run/traces");
    let under = ["strace", "-ff", "-qq", "-o", "/run/traces/of"];
    let program = contender.program().unwrap();
    let done = contender.prepared(|| program.command(&under).output().unwrap());
    assert!(done.status.success(), "{}: {done:?}", contender.name);
    let becomes_runtime = format!("execve(\"{RUNTIME}\"");
    let becomes_crun = format!("execve(\"{}\"", RUNTIME.replace("runc", "crun"));
    let of_process = |path: PathBuf| {
        let trace = fs::read_to_string(path).unwrap();
        let calls: Vec<&str> = trace.lines().filter(|line| line.contains('(')).collect();
        let end = calls
            .iter()
            .position(|call| call.starts_with(&becomes_runtime) || call.starts_with(&becomes_crun));
        end.map_or(calls.len(), |at| at + 1) as u64
    };
    files(traces).into_iter().map(of_process).sum()
}

/// The instructions in user mode, of the process itself: one that it forks starts with its counts.
fn instructions(contender: &Contender) -> u64 {
    let counts = empty("/run/counts");
    let under = [
        "valgrind",
        "--tool=callgrind",
        // Said before the process becomes another program.
        "--dump-before=execve*",
        "--callgrind-out-file=/run/counts/%p",
    ];
    let program = contender.program().unwrap();
    let process = contender.prepared(|| {
        let mut command = program.command(&under);
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        child.wait().unwrap();
        child.id().to_string()
    });
    let is_its_own = |path: &&PathBuf| path.file_stem().is_some_and(|stem| *stem == *process);
    let total = files(counts)
        .iter()
        .filter(is_its_own)
        .map(|path| totals(path))
        .sum();
    assert!(total > 0, "{}: valgrind counted nothing", contender.name);
    total
}

fn totals(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap();
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("totals: "));
    lines.filter_map(|n| n.trim().parse::<u64>().ok()).sum()
}

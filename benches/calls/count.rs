//! Counts what does not depend on the machine's load: system calls (strace) and instructions
//! (valgrind), from the first of the process to the execve(2) of the runtime.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::contenders::{ALL, Contender};
use crate::{Action, Options, node};

/// What a call may cost.
const BUDGET: &str = "benches/budget.json";

/// More than this fails, in per cent of the budget.
const SLACK: u64 = 5;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Cost {
    system_calls: u64,
    /// `None` without valgrind.
    instructions: Option<u64>,
}

/// Counts; with [`Action::Check`], compares with the budget. Returns the exit code.
pub(crate) fn count(options: &Options) -> i32 {
    node::load();
    let mut costs = BTreeMap::new();
    println!(
        "{:<36} {:>12} {:>12}",
        "call", "system calls", "instructions"
    );
    for contender in ALL.iter().skip(1) {
        let cost = Cost {
            system_calls: system_calls(contender),
            instructions: instructions(contender),
        };
        let shown = cost.instructions.map_or("-".to_owned(), |n| n.to_string());
        println!(
            "{:<36} {:>12} {shown:>12}",
            contender.name, cost.system_calls
        );
        costs.insert(contender.name.to_owned(), cost);
    }
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&costs).unwrap();
        fs::write(node::in_checkout(path), text + "\n").unwrap();
    }
    if options.action != Action::Check {
        return 0;
    }
    let budget = fs::read(node::in_checkout(Path::new(BUDGET))).unwrap();
    let budget: BTreeMap<String, Cost> = serde_json::from_slice(&budget).unwrap();
    let mut status = 0;
    for (call, cost) in &costs {
        let Some(budget) = budget.get(call) else {
            println!("{call}: {BUDGET} does not have it");
            status = 1;
            continue;
        };
        let mut check = |what: &str, now: u64, budget: u64| {
            if now * 100 > budget * (100 + SLACK) {
                println!("{call}: {now} {what}, but the budget is {budget}");
                status = 1;
            }
        };
        check("system calls", cost.system_calls, budget.system_calls);
        if let (Some(now), Some(budget)) = (cost.instructions, budget.instructions) {
            check("instructions", now, budget);
        }
    }
    status
}

/// Runs a call under another program.
fn under(words: &[&str], contender: &Contender, round: usize) -> std::process::Output {
    let command = contender.prepare(round);
    let mut outer = Command::new(words[0]);
    outer
        .args(&words[1..])
        .arg(command.get_program())
        .args(command.get_args());
    outer.output().unwrap()
}

fn system_calls(contender: &Contender) -> u64 {
    // Detached at the second execve(2).
    let done = under(
        &["strace", "-qq", "-b", "execve", "-o", "/run/trace"],
        contender,
        1_000_000,
    );
    assert!(done.status.success(), "{done:?}");
    let trace = fs::read_to_string("/run/trace").unwrap();
    trace.lines().filter(|line| line.contains('(')).count() as u64
}

/// The instructions in user mode; `None` without valgrind.
fn instructions(contender: &Contender) -> Option<u64> {
    Command::new("valgrind").arg("--version").output().ok()?;
    // It says so before the process becomes another program.
    let options = [
        "valgrind",
        "--tool=callgrind",
        "--dump-before=execve*",
        "--callgrind-out-file=/run/callgrind",
    ];
    under(&options, contender, 1_000_001);
    let mut total = 0;
    for entry in fs::read_dir("/run").unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("callgrind") {
            let text = fs::read_to_string(&path).unwrap();
            let lines = text
                .lines()
                .filter_map(|line| line.strip_prefix("totals: "));
            total += lines
                .filter_map(|n| n.trim().parse::<u64>().ok())
                .sum::<u64>();
            fs::remove_file(path).unwrap();
        }
    }
    (total > 0).then_some(total)
}

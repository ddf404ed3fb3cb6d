//! Counts what does not depend on the machine's load: system calls (strace) and instructions
//! (valgrind), from the first of the process to the execve(2) of the runtime.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::contenders::{ALL, Contender, PATH};
use crate::{Action, Options, node};

/// What a call may cost.
const BUDGET: &str = "benches/budget.json";

/// More than this fails, in per cent of the budget.
const SLACK: u64 = 5;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) system_calls: u64,
    /// `None` without valgrind.
    pub(crate) instructions: Option<u64>,
}

/// The costs of all calls.
pub(crate) type Costs = BTreeMap<String, Cost>;

/// Counts and prints; with [`Action::Check`], compares with the budget. Returns the exit code.
pub(crate) fn count(options: &Options) -> i32 {
    let costs = costs();
    println!(
        "{:<36} {:>12} {:>12}",
        "call", "system calls", "instructions"
    );
    for (call, cost) in &costs {
        let shown = cost.instructions.map_or("-".to_owned(), |n| n.to_string());
        println!("{call:<36} {:>12} {shown:>12}", cost.system_calls);
    }
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&costs).unwrap();
        fs::write(node::in_checkout(path), text + "\n").unwrap();
    }
    match options.action {
        Action::Check => i32::from(!is_within_budget(&costs)),
        _ => 0,
    }
}

/// Counts all calls but those to compare with.
pub(crate) fn costs() -> Costs {
    let cost = |contender: &Contender| Cost {
        system_calls: system_calls(contender),
        instructions: instructions(contender),
    };
    let ours = ALL.iter().filter(|contender| contender.is_ours());
    ours.map(|contender| (contender.name.to_owned(), cost(contender)))
        .collect()
}

/// Whether no call costs more than the budget allows; says which does.
fn is_within_budget(costs: &Costs) -> bool {
    let budget = fs::read(node::in_checkout(Path::new(BUDGET))).unwrap();
    let budget: Costs = serde_json::from_slice(&budget).unwrap();
    let mut is_within = true;
    for (call, cost) in costs {
        let Some(budget) = budget.get(call) else {
            println!("{call}: it is not in {BUDGET}; run: benches/run.sh --budget");
            is_within = false;
            continue;
        };
        let pairs = [
            (
                "system calls",
                Some(cost.system_calls),
                Some(budget.system_calls),
            ),
            ("instructions", cost.instructions, budget.instructions),
        ];
        for (what, now, budget) in pairs {
            if let (Some(now), Some(budget)) = (now, budget)
                && now * 100 > budget * (100 + SLACK)
            {
                println!("{call}: {now} {what}, but the budget is {budget}");
                is_within = false;
            }
        }
    }
    is_within
}

/// Runs a call under another program.
fn under(words: &[&str], contender: &Contender, round: usize) -> std::process::Output {
    let command = contender.prepare(round);
    let mut outer = Command::new(words[0]);
    outer
        .args(&words[1..])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .env("PATH", PATH);
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

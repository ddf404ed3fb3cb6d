//! What a call may cost: `benches/budget.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::count::Costs;
use crate::node::{self, HOOK, WRAPPER};

const BUDGET: &str = "benches/budget.json";

/// More than this fails, in per cent of the budget.
const SLACK: u64 = 5;

/// The same for resident memory. The kernel maps pages of a program that are near to the one it needs,
/// so it differs by some pages from run to run, and by more from kernel to kernel.
const MEMORY_SLACK: u64 = 30;

const MEMORY: &str = "KiB of resident memory";

/// What no call may exceed, whatever the budget says.
const MOST_RESIDENT_KIB: u64 = 4 << 10;

/// What was counted, or may be.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Budget {
    pub(crate) calls: Costs,
    /// The size of the programs, in bytes.
    pub(crate) programs: BTreeMap<String, u64>,
}

impl Budget {
    /// With what was counted.
    pub(crate) fn of(calls: Costs) -> Self {
        let size = |name: &str, path| (name.to_owned(), stripped_size(path));
        let programs = [
            size("oci-apparmor-hook", HOOK),
            size("oci-apparmor-runtime", WRAPPER),
        ];
        Self {
            calls,
            programs: programs.into(),
        }
    }

    pub(crate) fn write(&self) {
        let text = serde_json::to_string_pretty(self).unwrap() + "\n";
        fs::write(node::in_checkout(Path::new(BUDGET)), text).unwrap();
    }

    pub(crate) fn print(&self) {
        println!(
            "{:<36} {:>12} {:>12} {:>12}",
            "call", "system calls", "instructions", "resident KiB"
        );
        for (call, cost) in &self.calls {
            println!(
                "{call:<36} {:>12} {:>12} {:>12}",
                cost.system_calls, cost.instructions, cost.resident_kib
            );
        }
        for (program, size) in &self.programs {
            println!("{program:<36} {size:>12} bytes");
        }
    }

    /// Whether nothing exceeds the budget of the repository; says what does.
    pub(crate) fn is_kept(&self) -> bool {
        let budget = fs::read(node::in_checkout(Path::new(BUDGET))).unwrap();
        let budget: Self = match serde_json::from_slice(&budget) {
            Ok(budget) => budget,
            Err(e) => {
                println!("cannot read {BUDGET}: {e}; run: benches/run.sh --budget");
                return false;
            }
        };
        let mut excesses = Vec::new();
        for (call, cost) in &self.calls {
            let allowed = budget.calls.get(call);
            let mut compare =
                |what, now, allowed| excesses.extend(excess(call, what, now, allowed));
            compare(
                "system calls",
                cost.system_calls,
                allowed.map(|b| b.system_calls),
            );
            compare(
                "instructions",
                cost.instructions,
                allowed.map(|b| b.instructions),
            );
            compare(MEMORY, cost.resident_kib, allowed.map(|b| b.resident_kib));
            if cost.resident_kib > MOST_RESIDENT_KIB {
                let (now, most) = (cost.resident_kib, MOST_RESIDENT_KIB);
                excesses.push(format!(
                    "{call}: {now} KiB of resident memory, and {most} is the most"
                ));
            }
        }
        for (program, size) in &self.programs {
            excesses.extend(excess(
                program,
                "bytes",
                *size,
                budget.programs.get(program).copied(),
            ));
        }
        for excess in &excesses {
            println!("{excess}");
        }
        excesses.is_empty()
    }
}

/// The size of a program as it is released. A bench keeps the symbols: by these, valgrind knows where
/// the process becomes another program.
fn stripped_size(path: &str) -> u64 {
    let status = Command::new("strip")
        .args(["-o", "/run/stripped", path])
        .status();
    assert!(status.expect("strip(1), of the package binutils").success());
    fs::metadata("/run/stripped").unwrap().len()
}

fn excess(of: &str, what: &str, now: u64, budget: Option<u64>) -> Option<String> {
    let slack = match what {
        MEMORY => MEMORY_SLACK,
        _ => SLACK,
    };
    match budget {
        None => Some(format!(
            "{of}: its {what} are not in {BUDGET}; run: benches/run.sh --budget"
        )),
        Some(budget) if now * 100 > budget * (100 + slack) => {
            Some(format!("{of}: {now} {what}, but the budget is {budget}"))
        }
        Some(_) => None,
    }
}

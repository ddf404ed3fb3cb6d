//! The results of a run, as JSON: `benches/results/native.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::contenders::{Contender, NULL};
use crate::count::Cost;
use crate::node;
use crate::times::Time;

/// What was measured on a node of files.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) processor: String,
    pub(crate) linux: String,
    pub(crate) rounds: usize,
    pub(crate) calls: Vec<Row>,
    /// The size of the programs, in bytes.
    #[serde(default)]
    pub(crate) programs: BTreeMap<String, u64>,
}

/// One call. The ratios are to the null wrapper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) call: String,
    pub(crate) is_ours: bool,
    pub(crate) minimum_ms: f64,
    pub(crate) minimum_ratio: f64,
    pub(crate) median_ms: f64,
    pub(crate) median_ratio: f64,
    #[serde(flatten)]
    pub(crate) cost: Option<Cost>,
}

impl Results {
    pub(crate) fn new(contenders: &[Contender], times: &[Time], rounds: usize) -> Self {
        let null = &times[NULL];
        let row = |(contender, time): (&Contender, &Time)| Row {
            call: contender.name.clone(),
            is_ours: contender.is_ours,
            minimum_ms: rounded(time.minimum),
            minimum_ratio: rounded(time.minimum / null.minimum),
            median_ms: rounded(time.median),
            median_ratio: rounded(time.median / null.median),
            cost: None,
        };
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name\t: "));
        let linux = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processor: model.unwrap_or("unknown processor").to_owned(),
            linux: linux.trim().to_owned(),
            rounds,
            calls: contenders.iter().zip(times).map(row).collect(),
            programs: BTreeMap::new(),
        }
    }

    /// Adds what was counted.
    pub(crate) fn add(&mut self, counted: &Budget) {
        for row in &mut self.calls {
            row.cost = counted.calls.get(&row.call).copied();
        }
        self.programs = counted.programs.clone();
    }

    pub(crate) fn write(&self, path: &Path) {
        let path = node::in_checkout(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, serde_json::to_string_pretty(self).unwrap() + "\n").unwrap();
    }

    pub(crate) fn print(&self) {
        println!(
            "{} rounds; milliseconds, and multiples of the null wrapper",
            self.rounds
        );
        println!(
            "{:<36} {:>8} {:>7} {:>8} {:>7}",
            "call", "minimum", "ratio", "median", "ratio"
        );
        for row in &self.calls {
            println!(
                "{:<36} {:>8.3} {:>7.2} {:>8.3} {:>7.2}",
                row.call, row.minimum_ms, row.minimum_ratio, row.median_ms, row.median_ratio
            );
        }
    }
}

/// To the microsecond: what is beyond is noise.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

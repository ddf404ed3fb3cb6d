//! Times whole processes, in turn.

use std::fs;
use std::time::Instant;

use serde::Serialize;

use crate::contenders::ALL;
use crate::{Options, node};

/// Rounds that only fill the caches.
const WARM_UP: usize = 5;

/// The null wrapper among [`ALL`].
const NULL: usize = 1;

/// The times of all calls.
#[derive(Debug, Serialize)]
pub(crate) struct Times {
    pub(crate) rounds: usize,
    pub(crate) calls: Vec<Time>,
}

/// The times of one call, in milliseconds and as multiples of the null wrapper.
#[derive(Debug, Serialize)]
pub(crate) struct Time {
    pub(crate) call: &'static str,
    pub(crate) minimum: f64,
    pub(crate) median: f64,
    pub(crate) minimum_ratio: f64,
    pub(crate) median_ratio: f64,
}

/// Measures.
pub(crate) fn measure(options: &Options) -> Times {
    let mut all = vec![Vec::with_capacity(options.rounds); ALL.len()];
    for round in 0..options.rounds + WARM_UP {
        for (contender, times) in ALL.iter().zip(&mut all) {
            let mut command = contender.prepare(round);
            let began = Instant::now();
            let status = command.status().unwrap();
            let time = began.elapsed();
            assert!(status.success(), "{}", contender.name);
            if round >= WARM_UP {
                times.push(time.as_secs_f64() * 1e3);
            }
        }
    }
    for times in &mut all {
        times.sort_by(f64::total_cmp);
    }
    let minimum = |index: usize| all[index][0];
    let median = |index: usize| all[index][options.rounds / 2];
    let calls = ALL.iter().enumerate().map(|(index, contender)| Time {
        call: contender.name,
        minimum: minimum(index),
        median: median(index),
        minimum_ratio: minimum(index) / minimum(NULL),
        median_ratio: median(index) / median(NULL),
    });
    let times = Times {
        rounds: options.rounds,
        calls: calls.collect(),
    };
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&times).unwrap();
        fs::write(node::in_checkout(path), text + "\n").unwrap();
    }
    times
}

impl Times {
    /// Prints a table.
    pub(crate) fn print(&self) {
        println!(
            "{} rounds; milliseconds, and multiples of the null wrapper",
            self.rounds
        );
        println!(
            "{:<36} {:>8} {:>7} {:>8} {:>7}",
            "call", "minimum", "ratio", "median", "ratio"
        );
        for time in &self.calls {
            println!(
                "{:<36} {:>8.3} {:>7.2} {:>8.3} {:>7.2}",
                time.call, time.minimum, time.minimum_ratio, time.median, time.median_ratio
            );
        }
    }
}

//! Times whole processes, in turn.

use std::fs;
use std::time::Instant;

use serde_json::json;

use crate::contenders::ALL;
use crate::{Options, node};

/// Measures, and prints a table.
pub(crate) fn measure(options: &Options) {
    node::load();
    let mut times = vec![Vec::with_capacity(options.rounds); ALL.len()];
    // The first rounds fill the caches.
    for round in 0..options.rounds + 5 {
        for (contender, times) in ALL.iter().zip(&mut times) {
            let mut command = contender.prepare(round);
            let began = Instant::now();
            let status = command.status().unwrap();
            let time = began.elapsed();
            assert!(status.success(), "{}", contender.name);
            if round >= 5 {
                times.push(time.as_secs_f64() * 1e3);
            }
        }
    }
    for times in &mut times {
        times.sort_by(f64::total_cmp);
    }
    let minimum = |index: usize| times[index][0];
    let median = |index: usize| times[index][times[index].len() / 2];
    println!(
        "{} rounds; milliseconds, and how many times the null wrapper",
        options.rounds
    );
    println!(
        "{:<36} {:>8} {:>7} {:>8} {:>7}",
        "call", "minimum", "ratio", "median", "ratio"
    );
    let mut rows = Vec::new();
    for (index, contender) in ALL.iter().enumerate() {
        let ratios = (minimum(index) / minimum(1), median(index) / median(1));
        println!(
            "{:<36} {:>8.3} {:>7.2} {:>8.3} {:>7.2}",
            contender.name,
            minimum(index),
            ratios.0,
            median(index),
            ratios.1
        );
        rows.push(
            json!({"call": contender.name, "minimum_ms": minimum(index), "median_ms": median(index),
            "minimum_ratio": ratios.0, "median_ratio": ratios.1}),
        );
    }
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&json!({"rounds": options.rounds, "calls": rows}))
            .unwrap();
        fs::write(node::in_checkout(path), text + "\n").unwrap();
    }
}

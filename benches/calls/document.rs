//! Writes the results into `docs/performance.md`, and the plot beside it.

mod kernel;
mod plot;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::results::Results;

const DOCUMENT: &str = "docs/performance.md";
const PLOT: &str = "docs/performance.svg";

/// What was measured on a node of files, and on a real kernel.
const NATIVE: &str = "benches/results/native.json";
const KERNEL: &str = "benches/results/kernel.json";

/// Writes what there are results of.
pub(crate) fn write() {
    for (path, text) in pages() {
        fs::write(path, text).unwrap();
    }
}

/// Whether the page and the plot are those of the results; says which is not.
pub(crate) fn is_current() -> bool {
    let is_current = |(path, text): (PathBuf, String)| {
        let is_current = fs::read_to_string(&path).unwrap() == text;
        if !is_current {
            println!(
                "{}: it has other figures than benches/results; run: benches/run.sh --document",
                path.display()
            );
        }
        is_current
    };
    pages().into_iter().all(is_current)
}

/// The files and what they should contain.
fn pages() -> Vec<(PathBuf, String)> {
    let path = in_package(DOCUMENT);
    let mut page = fs::read_to_string(&path).unwrap();
    let mut pages = Vec::new();
    if let Ok(json) = fs::read(in_package(NATIVE)) {
        let results: Results = serde_json::from_slice(&json).unwrap();
        page = replaced(&page, "benches/run.sh", &native_table(&results));
        pages.push((in_package(PLOT), plot::svg(&results)));
    }
    if let Ok(json) = fs::read(in_package(KERNEL)) {
        let results = serde_json::from_slice(&json).unwrap();
        page = replaced(&page, "benches/run.sh --kernel", &kernel::tables(&results));
    }
    pages.push((path, page));
    pages
}

fn in_package(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The page with this text between the lines that name the command.
fn replaced(page: &str, command: &str, text: &str) -> String {
    let begin = format!("<!-- begin: {command} writes this -->\n");
    let (before, rest) = page.split_once(&begin).unwrap();
    let (_, after) = rest.split_once("<!-- end -->\n").unwrap();
    format!("{before}{begin}{text}<!-- end -->\n{after}")
}

fn native_table(results: &Results) -> String {
    let mut table = format!(
        "{}, Linux {}. {} rounds; milliseconds, and multiples of the null wrapper.\n\n\
         | call | minimum | ratio | median | ratio | system calls | instructions | resident KiB |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|\n",
        results.processor, results.linux, results.rounds
    );
    for row in &results.calls {
        write!(
            table,
            "| {} | {:.3} | {:.2} | {:.3} | {:.2} |",
            row.call, row.minimum_ms, row.minimum_ratio, row.median_ms, row.median_ratio
        )
        .unwrap();
        match &row.cost {
            Some(cost) => writeln!(
                table,
                " {} | {} | {} |",
                cost.system_calls, cost.instructions, cost.resident_kib
            ),
            None => writeln!(table, " | | |"),
        }
        .unwrap();
    }
    writeln!(table).unwrap();
    let megabytes = |size: u64| format!("{:.2} MB", size as f64 / 1e6);
    let programs = results.programs.iter();
    let sizes: Vec<String> = programs
        .map(|(program, size)| format!("`{program}` {}", megabytes(*size)))
        .collect();
    writeln!(table, "The programs: {}.", sizes.join(", ")).unwrap();
    table
}

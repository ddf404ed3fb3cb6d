//! `gc`: removes what is not needed any more. It never unloads a profile.

use clap::Args;
use serde::Serialize;

use crate::report::output::Output;
use crate::report::table::{Cell, Fit, Row, Table};
use oci_apparmor::containers::status::ContainerStatus;
use oci_apparmor::containers::{pods, records};
use oci_apparmor::counters;
use oci_apparmor::error::Result;
use oci_apparmor::node::Node;
use oci_apparmor::profiles::Store;

/// Remove old records, locks, temporary files and compiled policy
///
/// Removes the records of containers that are gone, what is remembered of pods that had no
/// container for 24 hours and of profiles that are not loaded any more, locks that no process
/// holds, temporary files of processes that were killed, and compiled policy beyond cache_limit,
/// the least recently used first. A count of events above 1048576 starts again at 0.
///
/// It never unloads a profile, and may run at any time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oci-apparmor gc
  # Once a day.
  systemctl enable --now oci-apparmor-gc.timer")]
pub(crate) struct GcArguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How much was removed.
#[derive(Debug, Serialize)]
struct Removed {
    records: u64,
    pods: u64,
    locks: u64,
    remembered: u64,
    temporary: u64,
    cached: u64,
    cached_bytes: u64,
    counters: u64,
}

pub(crate) fn run(arguments: &GcArguments, output: Output) -> Result<u8> {
    let node = Node::load()?;
    let before = records::all()?;
    let records = records::tidy(|record| ContainerStatus::of(record) == ContainerStatus::Gone)?;
    let pods = pods::tidy(&before)?;
    let collected = Store::new(&node).gc()?;
    let removed = Removed {
        records,
        pods,
        locks: collected.locks,
        remembered: collected.remembered,
        temporary: collected.temporary,
        cached: collected.cached,
        cached_bytes: collected.cached_bytes,
        counters: counters::gc(),
    };
    match arguments.json {
        true => output.json(&removed)?,
        false => output.table(&table(&removed))?,
    }
    Ok(0)
}

fn table(removed: &Removed) -> Table {
    let compiled = format!(
        "files of compiled policy, {} KiB",
        removed.cached_bytes / 1024
    );
    let mut table = Table::new(&[("REMOVED", Fit::Whole), ("WHAT", Fit::Wrap)]);
    for (count, what) in [
        (removed.records, "records of containers that are gone"),
        (removed.pods, "pods without a container"),
        (removed.locks, "unused locks"),
        (
            removed.remembered,
            "notes on profiles that are not loaded any more",
        ),
        (removed.temporary, "temporary files of killed processes"),
        (removed.cached, &compiled),
        (removed.counters, "counts of events, started again"),
    ] {
        table.push(Row::new([count.to_string().as_str(), what].map(Cell::from)));
    }
    table
}

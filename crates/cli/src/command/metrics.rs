//! `metrics`: what is known of this node, for Prometheus.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::report::output::Output;
use crate::statistics::metrics::MetricSource;
use crate::statistics::output_file::OutputFile;
use oci_apparmor::error::{Error, Kind, Result};

/// Print metrics of this node for Prometheus
///
/// Prints the text format of Prometheus, for the textfile collector of node_exporter: containers by
/// the state of their labels, profiles by mode, drift, loads, cache hits, refusals by kind, denials
/// by profile and operation, and what is missing in the log.
///
/// Denials are counted from the log: each run adds those since the last one, and keeps the sums in
/// /run/oci-apparmor/denials. All counts begin at boot. What the node has is in the metrics, not in
/// the exit code.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 the metrics were written, whatever they say.

Examples:
  oci-apparmor metrics
  # Once, for node_exporter.
  oci-apparmor metrics --output /var/lib/prometheus/node-exporter/oci-apparmor.prom
  # Every minute.
  systemctl enable --now oci-apparmor-metrics.timer")]
pub(crate) struct MetricsArguments {
    /// Replace FILE, whose name ends in .prom, in one step
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
}

pub(crate) fn run(arguments: &MetricsArguments, output: Output) -> Result<u8> {
    if !nix::unistd::geteuid().is_root() {
        let why = "only root can read what the metrics are made of";
        return Err(Error::new(Kind::Policy, why).with_remedy("run as root: oci-apparmor metrics"));
    }
    // Before the work, which takes a moment.
    let file = arguments.output.as_deref().map(OutputFile::collected);
    let file = file.transpose()?;
    let text = MetricSource::gather()?.text();
    match file {
        Some(file) => file.write(&text)?,
        None => output.text(&text)?,
    }
    Ok(0)
}

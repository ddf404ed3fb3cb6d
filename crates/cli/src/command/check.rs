//! `check`: whether this node can confine containers. Each part has a status, and a remedy.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::checks::all;
use crate::checks::finding::{Finding, Status};
use crate::report::output::Output;
use crate::report::progress::Progress;
use crate::report::table::{Cell, Fit, Row, Table};
use oci_apparmor::error::Result;

/// Check whether this node can confine containers, and what to fix
///
/// Checks the kernel, the privilege to load profiles, the configuration, the parser, the
/// directories of profiles, the low-level runtimes, the directory of records and the cache. For
/// each installed engine, its configuration files tell whether it calls the wrapper: with an
/// existing program, with all annotations passed on, in the section that is in force, and as the
/// default runtime or not. Hooks that podman and CRI-O read are checked as well: their program must
/// exist, and their stages must be known to the engines that read them.
///
/// Each problem comes with a remedy.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 no check failed (warnings do not count); otherwise the code of the first failure.

Examples:
  oci-apparmor check
  # Check a new configuration before it is installed.
  oci-apparmor check --config ./config.toml")]
pub(crate) struct CheckArguments {
    /// Check this configuration instead of the node's
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &CheckArguments, output: Output) -> Result<u8> {
    let progress = Progress::new();
    let findings = all::run(arguments.config.as_deref(), &progress).findings;
    drop(progress);
    match arguments.json {
        true => output.json(&findings)?,
        false => {
            output.table(&table(&findings))?;
            output.line(summary(&findings))?;
        }
    }
    let worst = findings.iter().find(|f| f.status == Status::Failure);
    Ok(worst.map_or(0, |f| f.kind.exit_code()))
}

fn table(findings: &[Finding]) -> Table {
    let mut table = Table::new(&[
        ("STATUS", Fit::Whole),
        ("PART", Fit::Whole),
        ("RESULT", Fit::Wrap),
    ])
    .notes_under(2);
    for finding in findings {
        let part = Cell::from(finding.part);
        let mut row = Row::new([finding.status.cell(), part, Cell::from(&finding.text)]);
        if let Some(remedy) = &finding.remedy {
            row.remedy(remedy);
        }
        table.push(row);
    }
    table
}

fn summary(findings: &[Finding]) -> String {
    let count = |status| findings.iter().filter(|f| f.status == status).count();
    match (count(Status::Failure), count(Status::Warning)) {
        (0, 0) => "All checks passed.".to_owned(),
        (0, 1) => "No check failed; there is 1 warning.".to_owned(),
        (0, n) => format!("No check failed; there are {n} warnings."),
        (n, _) => format!(
            "{n} check{} failed: containers that name a profile will not start, or will run \
             without it.",
            if n == 1 { "" } else { "s" }
        ),
    }
}

//! `report`: what an auditor wants to see of this node.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::report::output::Output;
use crate::statistics::assessment::Assessment;
use crate::statistics::node_report::NodeReport;
use crate::statistics::output_file::OutputFile;
use crate::statistics::report_json::ReportJson;
use crate::statistics::{page, report_text};
use oci_apparmor::error::Result;

/// Report whether this node confines its containers, and what AppArmor refused
///
/// Begins with the verdict and what needs attention. Then follow the engines and for which
/// containers they call the wrapper, every container with the label that it must have and the labels
/// that its processes have, the profiles with mode, source and drift, what AppArmor denied by profile
/// and operation, what was refused and loaded since boot, and the checks.
///
/// With --html, the report is one page that loads nothing from elsewhere, for a browser or for
/// printing. It holds names of containers, files and profiles; keep it as private as these are.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 every container runs under its label and no check failed; 5 a process runs without \
the label of its container; 6 the kernel enforces no profile; otherwise that of check.

Examples:
  oci-apparmor report
  # One page for a browser.
  oci-apparmor report --html report.html
  # What needs attention.
  oci-apparmor report --json | jq '.assessment.concerns'")]
pub(crate) struct ReportArguments {
    /// Write one HTML page to FILE, which only its owner can read
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "json")]
    html: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &ReportArguments, output: Output) -> Result<u8> {
    // Before the work, which takes a moment.
    let file = arguments.html.as_deref().map(OutputFile::private);
    let file = file.transpose()?;
    let report = NodeReport::gather()?;
    let assessment = Assessment::of(&report);
    match (&file, arguments.json) {
        (Some(file), _) => {
            file.write(&page::html(&report, &assessment))?;
            output.line(format!(
                "{} ({})",
                assessment.summary,
                file.path().display()
            ))?;
        }
        (None, true) => output.json(&ReportJson::of(&report, &assessment))?,
        (None, false) => report_text::print(&report, &assessment, output)?,
    }
    Ok(assessment.exit_code)
}

//! `lint`: problems of profiles, before a container is started under them.
//!
//! Nothing is loaded, and root is not needed. Files are compiled as this host's parser would for a
//! container, but from a copy, so that the lists that go by a file's name cannot hide anything.

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use serde::Serialize;

use crate::lint::linter::Linter;
use crate::lint::{Diagnostic, Severity};
use crate::report::output::Output;
use crate::report::progress::Progress;
use crate::report::table::{Cell, Fit, Row, Table, Tone};
use oci_apparmor::error::{Kind, Result};
use oci_apparmor::settings::Settings;

/// Compile profiles without loading them, and report problems
///
/// An error means that this node refuses containers that name the profile: it does not compile, it
/// declares anything else than the one profile that the file is named after, it attaches to programs
/// by path, it does not enforce, or it is disabled or not trusted.
///
/// A warning is a problem that shows later: no rule lets a runtime that has a profile of its own
/// (AppArmor 4) stop the container; a deny rule is in a profile that complains; no abi is declared;
/// this kernel or that abi lacks what a rule needs; a user other than root can change an include.
///
/// Each problem has a remedy, and its line where there is one. Lines in included files are not
/// reported. Whether the owner of FILE is trusted matters only in the profile_directories. lint need
/// not run as root. Where the kernel has no AppArmor, files are checked as if it had everything of
/// the newest abi in /etc/apparmor.d/abi.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 no errors; otherwise the code of the first error; with --strict, 5 for warnings.

Examples:
  oci-apparmor lint /etc/oci-apparmor/profiles/web
  # In a pipeline.
  oci-apparmor lint --strict profiles/*")]
pub(crate) struct LintArguments {
    /// Files with profiles
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// Exit with 5 if there are warnings
    #[arg(long)]
    strict: bool,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// What is found in one file.
#[derive(Debug)]
struct Report<'f> {
    file: &'f Path,
    found: Vec<Diagnostic>,
}

pub(crate) fn run(arguments: &LintArguments, output: Output) -> Result<u8> {
    let settings = Settings::load()?;
    let linter = Linter::new(&settings)?;
    let note = linter.note();
    let progress = Progress::new();
    let total = arguments.files.len();
    let report = |(done, file): (usize, &'_ PathBuf)| {
        progress.step(done, total, &format!("checking {}", file.display()));
        linter.look(file).unwrap_or_else(|finding| vec![finding])
    };
    let found = arguments
        .files
        .iter()
        .enumerate()
        .map(report)
        .collect::<Vec<_>>();
    drop(progress);
    let reports: Vec<Report<'_>> = arguments
        .files
        .iter()
        .zip(found)
        .map(|(file, found)| Report { file, found })
        .collect();
    match arguments.json {
        true => output.json(&shown(note.as_ref(), &reports))?,
        false => {
            let table = table(note.as_ref(), &reports);
            if !table.is_empty() {
                output.table(&table)?;
            }
            output.line(summary(&reports))?;
        }
    }
    let mut all = reports.iter().flat_map(|r| &r.found);
    let worst = all.clone().find(|f| f.severity == Severity::Error);
    let warned = all.any(|f| f.severity == Severity::Warning);
    Ok(match worst {
        Some(error) => error.kind.exit_code(),
        None if arguments.strict && warned => Kind::Policy.exit_code(),
        None => 0,
    })
}

/// What `--json` prints of a problem.
#[derive(Debug, Serialize)]
struct DiagnosticJson<'r> {
    file: Option<std::borrow::Cow<'r, str>>,
    line: Option<usize>,
    severity: Severity,
    rule: &'static str,
    text: &'r str,
    remedy: &'r str,
}

/// All findings, each with its file.
fn all<'r>(
    note: Option<&'r Diagnostic>,
    reports: &'r [Report<'_>],
) -> impl Iterator<Item = (Option<&'r Path>, &'r Diagnostic)> {
    let found = reports
        .iter()
        .flat_map(|report| report.found.iter().map(|f| (Some(report.file), f)));
    note.map(|f| (None, f)).into_iter().chain(found)
}

fn shown<'r>(note: Option<&'r Diagnostic>, reports: &'r [Report<'_>]) -> Vec<DiagnosticJson<'r>> {
    let one = |(file, f): (Option<&'r Path>, &'r Diagnostic)| DiagnosticJson {
        file: file.map(Path::to_string_lossy),
        line: f.line,
        severity: f.severity,
        rule: f.rule,
        text: &f.text,
        remedy: &f.remedy,
    };
    all(note, reports).map(one).collect()
}

fn table(note: Option<&Diagnostic>, reports: &[Report<'_>]) -> Table {
    let mut table = Table::new(&[
        ("SEVERITY", Fit::Whole),
        ("WHERE", Fit::CutStart),
        ("PROBLEM", Fit::Wrap),
    ]);
    for (file, f) in all(note, reports) {
        let severity = match f.severity {
            Severity::Error => Cell::new("error", Tone::Bad),
            Severity::Warning => Cell::new("warning", Tone::Warning),
            Severity::Note => Cell::from("note"),
        };
        let place = file.map(|file| match f.line {
            Some(line) => format!("{}:{line}", file.display()),
            None => file.display().to_string(),
        });
        let mut row = Row::new([severity, Cell::or_dash(place), Cell::from(&f.text)]);
        row.remedy(&f.remedy);
        table.push(row);
    }
    table
}

fn summary(reports: &[Report<'_>]) -> String {
    let count = |severity| {
        let all = reports.iter().flat_map(|r| &r.found);
        all.filter(|f| f.severity == severity).count()
    };
    let counted = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    format!(
        "{}, {}, {}",
        counted(reports.len(), "file"),
        counted(count(Severity::Error), "error"),
        counted(count(Severity::Warning), "warning"),
    )
}

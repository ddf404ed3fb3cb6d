//! The report for a terminal: the verdict, what needs attention, and the tables.

use crate::checks::finding::Status;
use crate::checks::wiring::WrapperCalls;
use crate::report::output::Output;
use crate::report::table::{Cell, Fit, Row, Table, Tone};
use crate::statistics::assessment::Assessment;
use crate::statistics::containers::LabelState;
use crate::statistics::node_facts::{NodeFacts, rfc3339};
use crate::statistics::node_report::NodeReport;
use crate::statistics::profiles::ProfileStatus;
use oci_apparmor::error::Result;

/// How many kinds of denials are shown; `denials` shows all.
const MOST_DENIALS: usize = 20;

/// Prints the report.
///
/// # Errors
/// If it cannot be printed.
pub(crate) fn print(report: &NodeReport, assessment: &Assessment, output: Output) -> Result<()> {
    output.table(&verdict(assessment))?;
    output.line("")?;
    output.table(&facts(&report.facts))?;
    section(
        output,
        "Engines",
        &engines(report),
        "no engine is installed",
    )?;
    let nothing = "none was made through the wrapper";
    section(output, "Containers", &containers(report, output), nothing)?;
    section(output, "Profiles", &profiles(report), "none")?;
    section(
        output,
        "Denials since boot",
        &denials(report),
        &no_denials(report),
    )?;
    section(
        output,
        "Refusals and loads since boot",
        &counters(report),
        "none",
    )
}

fn section(output: Output, title: &str, table: &Table, nothing: &str) -> Result<()> {
    output.line(format!("\n{title}"))?;
    match table.is_empty() {
        true => output.line(format!("  {nothing}")),
        false => output.table(table),
    }
}

/// The verdict, and what needs attention with its remedies.
fn verdict(assessment: &Assessment) -> Table {
    let mut table = Table::new(&[("", Fit::Whole), ("", Fit::Wrap)]).notes_under(1);
    table.push(Row::new([
        assessment.status.cell(),
        Cell::from(&assessment.summary),
    ]));
    for concern in &assessment.concerns {
        let mark = match concern.status {
            Status::Failure => Cell::new("  !", Tone::Bad),
            _ => Cell::new("  -", Tone::Warning),
        };
        let mut row = Row::new([mark, Cell::from(&concern.text)]);
        if let Some(remedy) = &concern.remedy {
            row.remedy(remedy);
        }
        table.push(row);
    }
    table
}

fn facts(facts: &NodeFacts) -> Table {
    let mut table = Table::new(&[("", Fit::Whole), ("", Fit::Wrap)]);
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    let kernel = format!("{} ({})", known(&facts.kernel), facts.architecture);
    let apparmor = match &facts.why_not {
        None => "enforces profiles".to_owned(),
        Some(why) => why.clone(),
    };
    let settings = match &facts.settings {
        Some(file) => format!("{} (SHA-256 {})", file.path, file.sha256),
        None => "the defaults".to_owned(),
    };
    for (key, value) in [
        ("Node", known(&facts.hostname)),
        ("System", known(&facts.os)),
        ("Kernel", kernel),
        ("Booted", known(&facts.booted)),
        ("AppArmor", apparmor),
        ("Parser", known(&facts.parser)),
        ("oci-apparmor", facts.version.to_owned()),
        ("Settings", settings),
    ] {
        table.push(Row::new([Cell::from(key), Cell::from(value)]));
    }
    table
}

/// For which containers an engine calls the wrapper, in words.
pub(crate) fn calls(calls: WrapperCalls) -> (&'static str, Tone) {
    match calls {
        WrapperCalls::All => ("all containers", Tone::Good),
        WrapperCalls::Named => ("containers that name its runtime", Tone::Warning),
        WrapperCalls::Hook => ("none; it calls the hook", Tone::Warning),
        WrapperCalls::None => ("none", Tone::Bad),
        WrapperCalls::Unknown => ("unknown", Tone::Bad),
    }
}

fn engines(report: &NodeReport) -> Table {
    let mut table = Table::new(&[
        ("ENGINE", Fit::Whole),
        ("CALLS THE WRAPPER FOR", Fit::Whole),
        ("CONFIGURATION", Fit::CutStart),
    ]);
    for engine in &report.engines {
        let (words, tone) = calls(engine.calls);
        table.push(Row::new([
            Cell::from(&engine.title),
            Cell::new(words, tone),
            Cell::from(engine.configuration.display().to_string()),
        ]));
    }
    table
}

fn containers(report: &NodeReport, output: Output) -> Table {
    let mut table = Table::new(&[
        ("CONTAINER", Fit::Cut),
        ("POD", Fit::Wrap),
        ("STATE", Fit::Whole),
        ("LABEL", Fit::Whole),
        ("MUST HAVE", Fit::Wrap),
        ("HAS", Fit::Wrap),
    ]);
    for container in &report.containers {
        let state = container.label_state();
        table.push(Row::new([
            Cell::from(output.id(&container.record.id)),
            Cell::or_dash(container.pod()),
            Cell::from(container.state.as_str()),
            Cell::new(state.as_str(), tone(state)),
            Cell::or_dash(container.must_have()),
            Cell::or_dash(Some(container.has().join(", "))),
        ]));
    }
    table
}

fn tone(state: LabelState) -> Tone {
    match state {
        LabelState::Confined => Tone::Good,
        LabelState::Violated => Tone::Bad,
        LabelState::NoProfile | LabelState::Unknown => Tone::Warning,
        LabelState::Waiting | LabelState::Ended => Tone::Plain,
    }
}

fn profiles(report: &NodeReport) -> Table {
    let mut table = Table::new(&[
        ("PROFILE", Fit::Wrap),
        ("MODE", Fit::Whole),
        ("DRIFT", Fit::Whole),
        ("CONTAINERS", Fit::Whole),
        ("SOURCE", Fit::CutStart),
    ]);
    for profile in &report.profiles {
        table.push(profile_row(profile));
    }
    table
}

fn profile_row(profile: &ProfileStatus) -> Row {
    let (drift, _) = profile.drift();
    let mode = profile.loaded.as_ref().map(|loaded| loaded.mode);
    Row::new([
        Cell::or_dash(profile.name.as_deref()),
        match mode {
            Some(mode) if mode.enforces() => Cell::new(mode.to_string(), Tone::Good),
            Some(mode) => Cell::new(mode.to_string(), Tone::Warning),
            None => Cell::from("-"),
        },
        drift.map_or_else(|| Cell::from("-"), |word| Cell::new(word, Tone::Warning)),
        Cell::from(profile.containers.len().to_string()),
        Cell::or_dash(profile.path.as_ref().map(|path| path.display().to_string())),
    ])
}

fn denials(report: &NodeReport) -> Table {
    let mut table = Table::new(&[
        ("PROFILE", Fit::Wrap),
        ("OPERATION", Fit::Whole),
        ("VERDICT", Fit::Whole),
        ("COUNT", Fit::Whole),
    ]);
    let mut kinds: Vec<_> = report.log.totals.iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (kind, count) in kinds.iter().take(MOST_DENIALS) {
        let tone = match kind.is_refusal() {
            true => Tone::Bad,
            false => Tone::Warning,
        };
        table.push(Row::new([
            Cell::or_dash(Some(&kind.profile)),
            Cell::or_dash(Some(&kind.operation)),
            Cell::new(&kind.verdict, tone),
            Cell::from(count.to_string()),
        ]));
    }
    if let Some(more) = kinds.len().checked_sub(MOST_DENIALS).filter(|n| *n > 0) {
        let rest = format!("{more} more; run: oci-apparmor denials");
        table.push(Row::new([rest.as_str(), "", "", ""].map(Cell::from)));
    }
    table
}

/// That there are no denials is only said where the log has everything.
pub(crate) fn no_denials(report: &NodeReport) -> String {
    let log = &report.log;
    match (log.complete_since, log.is_complete()) {
        _ if log.sources.is_empty() => "unknown: no log could be read".to_owned(),
        (_, true) => "none".to_owned(),
        (Some(since), false) => format!(
            "none in {} since {}",
            log.sources.join(", "),
            rfc3339(since)
        ),
        (None, false) => format!("none in what {} still has", log.sources.join(", ")),
    }
}

fn counters(report: &NodeReport) -> Table {
    let mut table = Table::new(&[("EVENT", Fit::Whole), ("COUNT", Fit::Whole)]);
    for (event, count) in report.counters.iter().filter(|(_, count)| *count > 0) {
        table.push(Row::new([
            Cell::from(event.file_name()),
            Cell::from(count.to_string()),
        ]));
    }
    table
}

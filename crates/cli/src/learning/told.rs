//! What people are told about a suggestion.

use std::fmt::Write;

use crate::learning::draft::witnesses;
use crate::learning::proof::{Canary, Proof};
use crate::learning::suggestion::{Evidence, SourceChange};
use crate::report::table::{Cell, Fit, Row, Table, Tone};
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor_audit::suggestion::SuggestedRule;

/// How many accesses are listed of one kind.
const MOST: usize = 20;

/// The rules, with their counts and their reasons. `None` if there are none.
pub(crate) fn rules(change: &SourceChange) -> Option<Table> {
    let mut table = Table::new(&[
        ("EVENTS", Fit::Whole),
        ("PROFILE", Fit::Whole),
        ("RULE", Fit::Wrap),
    ]);
    let mut any = false;
    for (profile, rule) in change.draft.rules() {
        table.push(row(profile, rule));
        any = true;
    }
    for (profile, suggestion) in &change.draft.profiles {
        for (flag, count) in &suggestion.flags {
            table.push(Row::new([
                Cell::from(count.to_string()),
                Cell::from(profile),
                Cell::from(format!("flags=({})", flag.as_str())),
            ]));
            any = true;
        }
    }
    any.then_some(table)
}

fn row(profile: &str, rule: &SuggestedRule) -> Row {
    let tone = match rule.danger {
        Some(_) => Tone::Warning,
        None => Tone::Plain,
    };
    let mut row = Row::new([
        Cell::from(rule.count.to_string()),
        Cell::from(profile),
        Cell::new(rule.rule.to_string(), tone),
    ]);
    let names = witnesses(rule);
    if !names.is_empty() {
        row.note(names);
    }
    if let Some(danger) = rule.danger {
        row.note(format!("not granted, only a comment: {danger}"));
    }
    row
}

/// What was read, what was not learnt, what is missing, and what the proof says.
pub(crate) fn lines(
    name: &ProfileName,
    change: &SourceChange,
    evidence: &Evidence<'_>,
) -> Vec<String> {
    let events = &evidence.events;
    let mut lines = vec![format!(
        "{} of {name} read from {}",
        counted(events.count, "event"),
        evidence.coverage.sources.join(", ")
    )];
    if events.allowed_already > 0 {
        lines.push(format!(
            "{} left out: the source allows them already",
            counted(events.allowed_already, "event")
        ));
    }
    for (profile, suggestion) in &change.draft.profiles {
        for (reason, count) in &suggestion.not_learnt {
            let events = counted(*count, "event");
            lines.push(format!(
                "not learnt, {events} of {profile}: {}",
                reason.as_str()
            ));
        }
        if suggestion.left_out > 0 {
            let events = counted(suggestion.left_out, "event");
            lines.push(format!(
                "not learnt, {events} of {profile}: too many different accesses"
            ));
        }
    }
    if change
        .draft
        .rules()
        .any(|(_, rule)| !rule.alternatives.is_empty())
    {
        lines.push(
            "programs that are executed keep the profile (ix); instead of ix, a rule can say Px (a \
             profile of its own), Cx (a child of this one) or Ux (unconfined)"
                .to_owned(),
        );
    }
    if events.unwatched > 0 {
        lines.push(format!(
            "not watched for sockets, signals, tracing and mounts: {}, which no rule allowed to \
             execute; put these rules into force, and learn again",
            counted(events.unwatched, "program")
        ));
    }
    for child in &change.new.missing {
        lines.push(format!(
            "nothing was added for {child}: the source does not declare it"
        ));
    }
    for rule in &change.new.inexpressible {
        lines.push(format!(
            "not added, because a manifest has no field for it: {rule}"
        ));
    }
    for rule in &change.new.broader {
        lines.push(format!(
            "warning: broader, because the lists of a manifest cannot say it: {rule}"
        ));
    }
    lines.extend(completeness(evidence));
    if !change.draft.is_empty() {
        match &change.proof {
            Ok(proof) => lines.extend(proven(proof)),
            Err(why) => lines.push(format!("not proven by the kernel: {why}")),
        }
        let more = events.not_kept.saturating_add(events.without_question);
        if more > 0 {
            lines.push(format!(
                "{} could not be proven: they are too many, or the kernel cannot be asked about them",
                counted(more, "event")
            ));
        }
    }
    lines
}

/// Why there may be more events than were seen.
fn completeness(evidence: &Evidence<'_>) -> Vec<String> {
    let mut lines: Vec<String> = evidence.gaps.lines();
    for line in &mut lines {
        line.insert_str(0, "missing: ");
    }
    if !evidence.is_complete() {
        if lines.is_empty() {
            lines
                .push("missing: unknown; the log may not have every event of that time".to_owned());
        }
        lines.extend(evidence.coverage.advice.iter().cloned());
    }
    lines
}

fn proven(proof: &Proof) -> Vec<String> {
    let mut lines = Vec::new();
    let others = [
        proof.held_back.len(),
        proof.denied.len(),
        proof.unclear.len(),
    ];
    let others = others.iter().fold(0_usize, |sum, n| sum.saturating_add(*n));
    lines.push(match others {
        0 => format!(
            "proven by the kernel: the suggestion allows {}",
            all(proof.allowed)
        ),
        _ => format!(
            "proven by the kernel: the suggestion allows {} of {} different accesses",
            proof.allowed,
            proof
                .allowed
                .saturating_add(u64::try_from(others).unwrap_or(u64::MAX))
        ),
    });
    list(
        &mut lines,
        "still denied, the rule is a comment",
        &proof.held_back,
    );
    let denied: Vec<String> = proof
        .denied
        .iter()
        .map(|(what, why)| format!("{what} ({why})"))
        .collect();
    list(&mut lines, "still denied", &denied);
    let unclear: Vec<String> = proof
        .unclear
        .iter()
        .map(|(what, why)| format!("{what} ({why})"))
        .collect();
    list(&mut lines, "the kernel does not tell", &unclear);
    for Canary { allowed, before } in &proof.canaries {
        let what = match before {
            true => "the source allows, as before",
            false => "the suggestion allows",
        };
        let access = &allowed.access;
        lines.push(format!("warning: {what}: {access} ({})", allowed.danger));
    }
    lines
}

fn all(count: u64) -> String {
    match count {
        1 => "the one access".to_owned(),
        count => format!("all {count} different accesses"),
    }
}

fn list(lines: &mut Vec<String>, what: &str, items: &[String]) {
    lines.extend(
        items
            .iter()
            .take(MOST)
            .map(|item| format!("{what}: {item}")),
    );
    let more = items.len().saturating_sub(MOST);
    if more > 0 {
        let mut line = String::new();
        // Writing to a String cannot fail.
        let _ = write!(line, "{what}: {more} more");
        lines.push(line);
    }
}

/// `1 event`, `2 events`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

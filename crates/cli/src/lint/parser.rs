//! What the parser says of a source, as findings with their places.

use crate::lint::{Finding, of_error};
use oci_apparmor::apparmor::text::{ProfileRule, ProfileText};
use oci_apparmor::error::{Error, foreign};

/// What the parser warns of, each thing once.
pub(super) fn warnings(warnings: &str, own: &ProfileText, source: &str, abi: bool) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for message in warnings.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (place, said) = located(message);
        // One abi holds for a whole file, whichever its includes declare; and where it has none,
        // that is what is to be told.
        if said.contains("features abi") {
            if abi {
                let remedy = "declare the abi of the includes, or none but it";
                found.push(Finding::warning("abi", foreign(said), remedy));
            }
            continue;
        }
        let line = match place.strip_prefix("profile ") {
            Some(name) => own.line_of(name.trim_end_matches(" (stdin")),
            None => line_in(place).filter(|n| *n <= source.lines().count()),
        };
        let downgraded = said.contains("downgrading");
        let finding = if downgraded || said.contains("not enforce") {
            let text = format!("the parser says: {}", foreign(said));
            let remedy = "do not rely on such rules here: this kernel, or the abi that the file \
                          declares, does not have them";
            match class_of(said).map(|class| own_rule(own, class)) {
                Some(Some(line)) => Finding::warning("not-enforced", text, remedy).at(Some(line)),
                // A part of `network,`, or the rule of an include; what it is downgraded to is
                // enforced.
                Some(None) if downgraded => continue,
                Some(None) => Finding::note("not-enforced", text, remedy).at(line),
                None => Finding::warning("not-enforced", text, remedy).at(line),
            }
        } else {
            let text = format!("the parser says: {}", foreign(message));
            Finding::warning("parser", text, "see apparmor.d(5)").at(line)
        };
        if !found.contains(&finding) {
            found.push(finding);
        }
    }
    found
}

/// The word with which rules of the kind begin that the parser speaks of.
fn class_of(said: &str) -> Option<&'static str> {
    // `extended network unix socket rules` are not `network` rules.
    [
        ("unix socket", "unix"),
        ("network", "network"),
        ("dbus", "dbus"),
        ("mount", "mount"),
        ("ptrace", "ptrace"),
        ("signal", "signal"),
        ("userns", "userns"),
        ("mqueue", "mqueue"),
        ("io_uring", "io_uring"),
    ]
    .into_iter()
    .find_map(|(phrase, class)| said.contains(phrase).then_some(class))
}

/// The line of the first rule of this kind that is in the file itself.
fn own_rule(own: &ProfileText, class: &str) -> Option<usize> {
    let rules = own.rules.iter();
    let begins = |r: &&ProfileRule| match r.words.first().map(String::as_str) {
        Some("umount" | "remount" | "pivot_root") => class == "mount",
        first => first == Some(class),
    };
    rules.filter(begins).map(|r| r.line).min()
}

/// `Warning from FILE (PLACE): TEXT` as place and text.
fn located(message: &str) -> (&str, &str) {
    let Some(rest) = message.strip_prefix("Warning from ") else {
        return ("", message);
    };
    let Some((place, said)) = rest.split_once("): ") else {
        return ("", message);
    };
    match place.strip_prefix("stdin (") {
        Some(inner) => (inner, said),
        None => (place, said),
    }
}

/// The line of a place that is in the file itself, which the parser gets as standard input.
fn line_in(place: &str) -> Option<usize> {
    place.strip_prefix("stdin line ")?.parse().ok()
}

/// A source that does not compile. The parser names the file and the line: `AppArmor parser error
/// for /dev/stdin in profile FILE at line N: TEXT`.
#[must_use]
pub fn does_not_compile(e: &Error) -> Finding {
    let finding = of_error("compile", e);
    let said = finding.text.trim_start_matches("apparmor_parser: ");
    // `FILE at line N: TEXT`
    let place = said.split_once(" in profile ").and_then(|(_, place)| {
        let (file, rest) = place.split_once(" at line ")?;
        let (line, said) = rest.split_once(": ")?;
        Some((file, line, said))
    });
    let (line, text) = match place {
        Some(("/dev/stdin", line, said)) => (line.parse().ok(), said.to_owned()),
        Some((file, line, said)) => (None, format!("{said} ({file} line {line})")),
        None => (None, said.to_owned()),
    };
    let remedy = match text.contains("never declared") {
        true => "declare it, or write before the profile: include <tunables/global>".to_owned(),
        false => finding.remedy.clone(),
    };
    Finding {
        line,
        text: format!("it does not compile: {text}"),
        remedy,
        ..finding
    }
}

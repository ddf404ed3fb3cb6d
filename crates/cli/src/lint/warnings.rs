//! The warnings and errors of the parser as diagnostics with lines.

use crate::lint::diagnostic::{Diagnostic, of_error};
use oci_apparmor::apparmor::text::{ProfileRule, ProfileText};
use oci_apparmor::error::{Error, foreign};

/// The warnings of the parser, each once. `abi`: the file declares an abi.
pub(super) fn of(warnings: &str, own: &ProfileText, source: &str, abi: bool) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    for message in warnings.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (place, said) = located(message);
        // One abi applies to the whole file, whatever its includes declare. A missing one is reported
        // by another check.
        if said.contains("features abi") {
            if abi {
                let remedy = "declare the same abi as the includes";
                found.push(Diagnostic::warning("abi", foreign(said), remedy));
            }
            continue;
        }
        let line = match place.strip_prefix("profile ") {
            Some(name) => own.line_of(name.trim_end_matches(" (stdin")),
            None => line_in(place).filter(|n| *n <= source.lines().count()),
        };
        let downgraded = said.contains("downgrading");
        let diagnostic = if downgraded || said.contains("not enforce") {
            let text = format!("the parser says: {}", foreign(said));
            let remedy = "do not rely on such rules: this kernel, or the abi that the file declares, \
                          does not have them";
            match class_of(said).map(|class| own_rule(own, class)) {
                Some(Some(line)) => {
                    Diagnostic::warning("not-enforced", text, remedy).at(Some(line))
                }
                // The parser says that of `network,` and of rules in includes, too. The rule that
                // it uses instead is enforced.
                Some(None) if downgraded => continue,
                Some(None) => Diagnostic::note("not-enforced", text, remedy).at(line),
                None => Diagnostic::warning("not-enforced", text, remedy).at(line),
            }
        } else {
            let text = format!("the parser says: {}", foreign(message));
            Diagnostic::warning("parser", text, "see apparmor.d(5)").at(line)
        };
        if !found.contains(&diagnostic) {
            found.push(diagnostic);
        }
    }
    found
}

/// The first word of the rules that a warning is about.
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

/// The line of the first rule of this class in the file itself.
fn own_rule(own: &ProfileText, class: &str) -> Option<usize> {
    let rules = own.rules.iter();
    let begins = |r: &&ProfileRule| match r.words.first().map(String::as_str) {
        Some("umount" | "remount" | "pivot_root") => class == "mount",
        first => first == Some(class),
    };
    rules.filter(begins).map(|r| r.line).min()
}

/// Splits `Warning from FILE (PLACE): TEXT` into place and text.
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

/// The line of a place in the file itself, which the parser reads from standard input.
fn line_in(place: &str) -> Option<usize> {
    place.strip_prefix("stdin line ")?.parse().ok()
}

/// The diagnostic for a file that does not compile. The parser names the file and the line:
/// `AppArmor parser error for /dev/stdin in profile FILE at line N: TEXT`.
#[must_use]
pub(crate) fn does_not_compile(e: &Error) -> Diagnostic {
    let diagnostic = of_error("compile", e);
    let said = diagnostic.text.trim_start_matches("apparmor_parser: ");
    // FILE at line N: TEXT
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
        true => "declare it, or add before the profile: include <tunables/global>".to_owned(),
        false => diagnostic.remedy.clone(),
    };
    Diagnostic {
        line,
        text: format!("it does not compile: {text}"),
        remedy,
        ..diagnostic
    }
}

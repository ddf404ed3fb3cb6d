//! Whether engines and runtimes can stop a container: its profile must let it receive signals.

use crate::lint::diagnostic::Diagnostic;
use oci_apparmor::apparmor::text::{ProfileRule, ProfileText};
use oci_apparmor::error::quoted;

/// The labels that a runtime may have when it stops a container. AppArmor 4 has profiles of these
/// names for these programs, with `flags=(unconfined)`.
const SENDERS: [&str; 4] = ["unconfined", "runc", "crun", "podman"];

/// The warning for a profile that refuses SIGTERM or SIGKILL from one of these labels.
pub(super) fn refused(all: &ProfileText, profile: usize, name: &str) -> Option<Diagnostic> {
    let lacks = |peer: &&str| {
        ["term", "kill"]
            .iter()
            .any(|signal| !receives(all, profile, signal, peer))
    };
    let missing: Vec<&str> = SENDERS.into_iter().filter(|peer| lacks(peer)).collect();
    if missing.is_empty() {
        return None;
    }
    // Before AppArmor 4 the runtimes are unconfined.
    let effect = match missing.contains(&"unconfined") {
        true => "stop and kill fail",
        false => "stop and kill fail where the distribution gives runtimes a profile (AppArmor 4)",
    };
    let rule = format!("signal (receive) peer={{{}}},", missing.join(","));
    Some(Diagnostic::warning(
        "signal",
        format!(
            "the profile {} does not allow SIGTERM and SIGKILL from {}: {effect}",
            quoted(name),
            missing.join(", ")
        ),
        &format!("add: {}", rule.replace("{unconfined}", "unconfined")),
    ))
}

/// Whether the profile allows this signal from a process with this label.
fn receives(all: &ProfileText, profile: usize, signal: &str, peer: &str) -> bool {
    let mut rules = all.rules.iter().filter(|r| r.profile == profile);
    let denied = rules
        .clone()
        .any(|rule| rule.deny && admits(all, rule, signal, peer));
    !denied && rules.any(|rule| !rule.deny && admits(all, rule, signal, peer))
}

/// Whether a rule applies to receiving this signal from this label (apparmor.d(5), Signal rules).
fn admits(all: &ProfileText, rule: &ProfileRule, signal: &str, peer: &str) -> bool {
    let mut words = rule.words.iter().map(String::as_str);
    match words.next() {
        Some("all") => return true,
        Some("signal") => {}
        _ => return false,
    }
    let list = |text: &str| -> Vec<String> {
        let inside = text.trim_start_matches('(').trim_end_matches(')');
        let words = inside.split(|c: char| c.is_whitespace() || c == ',');
        words.filter(|w| !w.is_empty()).map(str::to_owned).collect()
    };
    // Several sets and several permissions add up. Without any, the rule applies to all.
    let (mut accesses, mut sets, mut peers) = (Vec::new(), Vec::new(), Vec::new());
    for word in words {
        match word.split_once('=') {
            Some(("set", signals)) => sets.extend(list(signals)),
            Some(("peer", label)) => peers.push(label.to_owned()),
            _ => accesses.extend(list(word)),
        }
    }
    let receives = |a: &String| matches!(a.as_str(), "receive" | "r" | "read" | "rw" | "wr");
    (accesses.is_empty() || accesses.iter().any(receives))
        && (sets.is_empty() || sets.iter().any(|s| s == signal))
        && (peers.is_empty() || peers.iter().any(|p| matches(all, p, peer)))
}

/// Whether a label matches AppArmor's pattern.
fn matches(all: &ProfileText, pattern: &str, label: &str) -> bool {
    let pattern = pattern.trim_start_matches('(').trim_end_matches(')');
    all.expand(pattern).iter().any(|one| {
        // The crate negates a class with `[!`. The labels above have no slash.
        glob::Pattern::new(&one.replace("[^", "[!")).is_ok_and(|p| p.matches(label))
    })
}

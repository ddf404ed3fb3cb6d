//! `deny` rules in complain mode.

use crate::lint::diagnostic::Diagnostic;
use oci_apparmor::apparmor::text::ProfileText;
use oci_apparmor::error::quoted;

/// Warnings about `deny` rules of a profile in complain mode: the kernel enforces them, and logs
/// nothing. `index` is the profile's index in `all`.
pub(super) fn rules(
    own: &ProfileText,
    all: &ProfileText,
    index: usize,
    name: &str,
) -> Vec<Diagnostic> {
    const REMEDY: &str = "write `audit deny` to see the refusals in the log, or remove the rule as long as the profile \
         complains";
    let of = |text: &ProfileText, profile| {
        let rules = text.rules.iter().filter(|r| r.profile == profile && r.deny);
        rules.map(|r| r.line).collect::<Vec<_>>()
    };
    let name_of = quoted(name);
    let lines = own.profile(name).map(|i| of(own, i)).unwrap_or_default();
    let included = of(all, index).len().saturating_sub(lines.len());
    let mut found: Vec<_> = lines
        .into_iter()
        .map(|line| {
            let text = format!(
                "the profile {name_of} is in complain mode, but this deny rule is enforced"
            );
            Diagnostic::warning("deny-in-complain", text, REMEDY).at(Some(line))
        })
        .collect();
    if included > 0 {
        let text = format!(
            "the profile {name_of} is in complain mode, but {included} deny rule(s) of its includes are \
             enforced"
        );
        found.push(
            Diagnostic::warning(
                "deny-in-complain",
                text,
                "remove these includes as long as the profile complains",
            )
            .at(own.line_of(name)),
        );
    }
    found
}

//! Problems in profiles for containers, found in their text, in the compiled policy, and in the
//! warnings of the parser. Nothing here touches the system.
//!
//! An **error** makes this node refuse a container that names the profile. A **warning** lets the
//! container start, but something will not work as expected. Errors come from the compiled policy,
//! as they do when a container starts. The text gives the lines, and the warnings that compiled
//! policy cannot give: which rules are `deny` rules, and which peers a signal rule names.

mod declarations;
mod deny;
mod diagnostic;
mod input;
mod signals;
#[cfg(test)]
mod tests;
mod warnings;

use oci_apparmor::apparmor::loaded::Mode;
use oci_apparmor::apparmor::text::ProfileText;

pub(crate) use diagnostic::{Diagnostic, Severity, of_error};
pub(crate) use input::Input;
pub(crate) use warnings::does_not_compile;

/// All problems of a file that compiles, in the order of its lines.
#[must_use]
pub(crate) fn diagnose(input: &Input<'_>) -> Vec<Diagnostic> {
    let own = ProfileText::scan(input.source);
    let all = ProfileText::scan(input.flattened);
    let mut found = Vec::new();
    if let Some(declared) = input.declared {
        found.extend(declarations::check(input, declared, &own));
    }
    let complains = |name: &str| {
        let declared = input.declared.into_iter().flatten();
        let mode = declared
            .into_iter()
            .find(|d| d.name == name)
            .map(|d| d.mode);
        input.forced_to_complain || mode == Some(Mode::Complain)
    };
    let confines = |name: &str| {
        let mut declared = input.declared.into_iter().flatten();
        !declared.any(|d| d.name == name && d.mode == Mode::Unconfined)
    };
    if !all.abi && !all.profiles.is_empty() {
        found.push(
            Diagnostic::warning(
                "abi",
                "no abi is declared before the first profile, so /etc/apparmor/parser.conf decides \
                 which kinds of rules are enforced",
                "add this as the first line, with a version from /etc/apparmor.d/abi: abi <abi/3.0>,",
            )
            .at(own.profiles.first().map(|p| p.line)),
        );
    }
    let signals_count = !input.warnings.contains("signal rules not enforced");
    for (index, profile) in all.profiles.iter().enumerate() {
        let line = own.line_of(&profile.name);
        if signals_count && confines(&profile.name) {
            found.extend(signals::refused(&all, index, &profile.name).map(|f| f.at(line)));
        }
        if complains(&profile.name) {
            found.extend(deny::rules(&own, &all, index, &profile.name));
        }
    }
    found.extend(warnings::of(input.warnings, &own, input.source, all.abi));
    found.sort_by_key(|f| f.line);
    found
}

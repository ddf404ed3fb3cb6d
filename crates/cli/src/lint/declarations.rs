//! What a file declares: one profile, with a name and a mode that a container's profile may have.

use crate::lint::diagnostic::{Diagnostic, of_error};
use crate::lint::input::Input;
use oci_apparmor::apparmor::blob::Declared;
use oci_apparmor::apparmor::loaded::Mode;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::apparmor::text::ProfileText;
use oci_apparmor::error::{Kind, quoted};
use oci_apparmor::profiles::compile;
use oci_apparmor::wanted::{Component, Wanted};

/// Compares the profiles in the compiled policy with what a container's profile may declare.
pub(super) fn check(
    input: &Input<'_>,
    declared: &[Declared],
    own: &ProfileText,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut error = |rule, line, text: String, remedy: &str| {
        found.push(Diagnostic::error(rule, Kind::Policy, text, remedy).at(line));
    };
    let roots: Vec<&Declared> = declared.iter().filter(|d| !d.name.contains("//")).collect();
    let Some(first) = roots.first() else {
        error(
            "empty",
            None,
            "it declares no profile; the parser accepts that without a warning".to_owned(),
            "write: profile NAME { }",
        );
        return found;
    };
    for (position, profile) in roots.iter().enumerate() {
        let name = &profile.name;
        let line = own.line_of(name);
        if position > 0 {
            let text = format!(
                "it declares {} besides {}",
                quoted(name),
                quoted(&first.name)
            );
            error("several", line, text, "give each profile a file of its own");
        }
        if profile.attaches {
            error(
                "attachment",
                line,
                format!(
                    "the profile {} attaches to programs by their path, and would confine programs of the host",
                    quoted(name)
                ),
                "declare it as `profile NAME {`, without a path in the name or after it",
            );
        }
        match profile.mode {
            Mode::Enforce | Mode::Kill => {}
            Mode::Complain if input.forced_to_complain => {}
            mode => {
                let remedy = format!(
                    "remove this flag; for complain mode on this node, run: oci-apparmor mode \
                     {} complain",
                    quoted(name)
                );
                error(
                    "mode",
                    line,
                    format!(
                        "the profile {} is in {mode} mode, but a container's profile must enforce",
                        quoted(name)
                    ),
                    &remedy,
                )
            }
        }
    }
    for (position, profile) in declared.iter().enumerate() {
        let name = quoted(&profile.name);
        let line = own.line_of(&profile.name);
        if declared
            .iter()
            .take(position)
            .any(|d| d.name == profile.name)
        {
            let text = format!("it declares the profile {name} twice");
            error("several", line, text, "remove one of them");
        }
        if let Some(other) = &profile.rename {
            let text = format!("{name} renames and replaces the profile {}", quoted(other));
            error("rename", line, text, "remove the rename");
        }
        if let Some(namespace) = &profile.namespace {
            let text = format!(
                "{name} is loaded into the policy namespace {}",
                quoted(namespace)
            );
            error(
                "namespace",
                line,
                text,
                "remove the namespace from its name",
            );
        }
    }
    let line = own.line_of(&first.name);
    match ProfileName::parse(&first.name) {
        Err(e) => {
            let remedy = e.remedy();
            let remedy = remedy.as_deref().unwrap_or("choose another name");
            error("name", line, e.without_remedy(), remedy);
        }
        Ok(name) if name.file_name() != input.file_name => error(
            "name",
            line,
            format!(
                "the profile {name} is in the file {}, so it is not found by its name",
                quoted(input.file_name)
            ),
            &format!("rename the file to {}", name.file_name()),
        ),
        // The check that is made when a container starts decides last.
        Ok(name) => {
            let wanted = match input.forced_to_complain {
                true => Wanted::Any,
                false => Wanted::Enforcing,
            };
            if let Err(e) = compile::declared::check(&Component { name, wanted }, declared)
                && found.is_empty()
            {
                found.push(of_error("refused", &e).at(line));
            }
        }
    }
    for child in declared.iter().filter(|d| d.name.contains("//")) {
        if !child.mode.enforces() && !input.forced_to_complain {
            let text = format!("{} is in {} mode", quoted(&child.name), child.mode);
            found.push(
                Diagnostic::warning("mode", text, "remove this flag").at(own.line_of(&child.name)),
            );
        }
    }
    found
}

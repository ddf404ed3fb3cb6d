//! What bites people in a profile for containers: judged from its text, from what it compiles to,
//! and from what the parser says about it. Nothing here touches the system.
//!
//! An **error** is what makes this node refuse a container that names the profile; a **warning**
//! is what lets it start and surprises later. Errors come from the compiled policy, as they do
//! when a container is made; the text gives the lines, and those warnings that compiled policy no
//! longer tells (which rules were written as `deny`, which peers a signal rule names).

mod parser;
mod signals;
#[cfg(test)]
mod tests;

use serde::Serialize;

use oci_apparmor::apparmor::blob::Declared;
use oci_apparmor::apparmor::loaded::Mode;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::apparmor::text::ProfileText;
use oci_apparmor::error::{Error, Kind, quoted};
use oci_apparmor::profiles::compile::declared;
use oci_apparmor::wanted::{Component, Wanted};

pub use parser::does_not_compile;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A container that names the profile is refused on this node.
    Error,
    /// The container starts, and something will not be as people expect.
    Warning,
    /// What could not be looked at, or how it was.
    Note,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The line in the file, counted from 1, where it has one.
    pub line: Option<usize>,
    /// How bad it is.
    pub severity: Severity,
    /// The family of an error; its number is the exit code.
    pub kind: Kind,
    /// Which rule of this program found it; docs/formats.md lists them.
    pub rule: &'static str,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
}

impl Finding {
    /// What makes this node refuse the profile.
    pub fn error(rule: &'static str, kind: Kind, text: impl Into<String>, remedy: &str) -> Self {
        Self {
            line: None,
            severity: Severity::Error,
            kind,
            rule,
            text: text.into(),
            remedy: remedy.to_owned(),
        }
    }

    /// What surprises later.
    pub fn warning(rule: &'static str, text: impl Into<String>, remedy: &str) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(rule, Kind::Policy, text, remedy)
        }
    }

    /// How it was looked at.
    pub fn note(rule: &'static str, text: impl Into<String>, remedy: &str) -> Self {
        Self {
            severity: Severity::Note,
            ..Self::error(rule, Kind::Policy, text, remedy)
        }
    }

    /// The same, at this line.
    #[must_use]
    pub fn at(self, line: Option<usize>) -> Self {
        Self { line, ..self }
    }
}

/// A file with profiles, as far as it is known.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The name of the file, without its directory.
    pub file_name: &'a str,
    /// Its text.
    pub source: &'a str,
    /// Its text with all that it includes.
    pub flattened: &'a str,
    /// What it compiles to; `None` where that cannot be read (compressed policy).
    pub declared: Option<&'a [Declared]>,
    /// What the parser said about it.
    pub warnings: &'a str,
    /// Whether the file is listed in `force-complain/`.
    pub forced_to_complain: bool,
}

/// All that is found in a file that compiles, in the order of its lines.
#[must_use]
pub fn judge(subject: &Subject<'_>) -> Vec<Finding> {
    let own = ProfileText::scan(subject.source);
    let all = ProfileText::scan(subject.flattened);
    let mut found = Vec::new();
    if let Some(declared) = subject.declared {
        found.extend(declares(subject, declared, &own));
    }
    let complains = |name: &str| {
        let declared = subject.declared.into_iter().flatten();
        let mode = declared
            .into_iter()
            .find(|d| d.name == name)
            .map(|d| d.mode);
        subject.forced_to_complain || mode == Some(Mode::Complain)
    };
    let confines = |name: &str| {
        let mut declared = subject.declared.into_iter().flatten();
        !declared.any(|d| d.name == name && d.mode == Mode::Unconfined)
    };
    if !all.abi && !all.profiles.is_empty() {
        found.push(
            Finding::warning(
                "abi",
                "no abi is declared before the first profile, so the node's parser.conf decides \
                 which kinds of rules are enforced, and the others silently are not",
                "add as its first line, with a version from /etc/apparmor.d/abi: abi <abi/3.0>,",
            )
            .at(own.profiles.first().map(|p| p.line)),
        );
    }
    let signals_count = !subject.warnings.contains("signal rules not enforced");
    for (index, profile) in all.profiles.iter().enumerate() {
        let line = own.line_of(&profile.name);
        if signals_count && confines(&profile.name) {
            found.extend(signals::refused(&all, index, &profile.name).map(|f| f.at(line)));
        }
        if complains(&profile.name) {
            found.extend(denials(&own, &all, index, &profile.name));
        }
    }
    found.extend(parser::warnings(
        subject.warnings,
        &own,
        subject.source,
        all.abi,
    ));
    found.sort_by_key(|f| f.line);
    found
}

/// What the compiled policy declares, against what a container's may.
fn declares(subject: &Subject<'_>, declared: &[Declared], own: &ProfileText) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut error = |rule, line, text: String, remedy: &str| {
        found.push(Finding::error(rule, Kind::Policy, text, remedy).at(line));
    };
    let roots: Vec<&Declared> = declared.iter().filter(|d| !d.name.contains("//")).collect();
    let Some(first) = roots.first() else {
        error(
            "empty",
            None,
            "it declares no profile, which the parser takes for success".to_owned(),
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
                    "the profile {} attaches to programs by path and would confine the host's too",
                    quoted(name)
                ),
                "write it as: profile NAME {, with no path in it or behind it",
            );
        }
        match profile.mode {
            Mode::Enforce | Mode::Kill => {}
            Mode::Complain if subject.forced_to_complain => {}
            mode => error(
                "mode",
                line,
                format!(
                    "the profile {} is in {mode} mode, and a container's must enforce",
                    quoted(name)
                ),
                "remove that flag; to let it complain on this node, put the file's name into \
                 /etc/apparmor.d/force-complain",
            ),
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
            let text = format!("{name} would replace the profile {} as well", quoted(other));
            error("rename", line, text, "remove the rename");
        }
        if let Some(namespace) = &profile.namespace {
            let text = format!(
                "{name} loads into the policy namespace {}",
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
        Ok(name) if name.file_name() != subject.file_name => error(
            "name",
            line,
            format!(
                "the profile is {name}, and its file is {}: it is not found by its name",
                quoted(subject.file_name)
            ),
            &format!("name the file {}", name.file_name()),
        ),
        // The last word has the very function that is asked when a container is made.
        Ok(name) => {
            let wanted = match subject.forced_to_complain {
                true => Wanted::Any,
                false => Wanted::Enforcing,
            };
            if let Err(e) = declared::check(&Component { name, wanted }, declared)
                && found.is_empty()
            {
                found.push(of_error("refused", &e).at(line));
            }
        }
    }
    for child in declared.iter().filter(|d| d.name.contains("//")) {
        if !child.mode.enforces() && !subject.forced_to_complain {
            let text = format!("{} is in {} mode", quoted(&child.name), child.mode);
            found.push(
                Finding::warning("mode", text, "remove that flag").at(own.line_of(&child.name)),
            );
        }
    }
    found
}

/// An error as a finding; its remedy stands in it.
#[must_use]
pub fn of_error(rule: &'static str, e: &Error) -> Finding {
    let remedy = e.remedy();
    let remedy = remedy.as_deref().unwrap_or("see apparmor.d(5)");
    Finding::error(rule, e.kind(), e.without_remedy(), remedy)
}

/// `deny` rules of a profile that complains: the kernel enforces them, and logs nothing.
fn denials(own: &ProfileText, all: &ProfileText, index: usize, name: &str) -> Vec<Finding> {
    const REMEDY: &str =
        "write `audit deny` to see it in the log, or leave it out while it complains";
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
            let text = format!("the profile {name_of} complains, but this rule still denies");
            Finding::warning("deny-in-complain", text, REMEDY).at(Some(line))
        })
        .collect();
    if included > 0 {
        let text = format!(
            "the profile {name_of} complains, but {included} deny rule(s) that it includes still deny"
        );
        found.push(
            Finding::warning(
                "deny-in-complain",
                text,
                "do not include them while it complains",
            )
            .at(own.line_of(name)),
        );
    }
    found
}

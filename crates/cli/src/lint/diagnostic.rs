//! A problem in a file with profiles.

use serde::Serialize;

use oci_apparmor::error::{Error, Kind};

/// How serious a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// A container that names the profile is refused on this node.
    Error,
    /// The container starts, but something will not work as expected.
    Warning,
    /// Something could not be checked, or only in part.
    Note,
}

/// One problem in a file with profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    /// The line in the file, counted from 1, if it is known.
    pub(crate) line: Option<usize>,
    /// How serious it is.
    pub(crate) severity: Severity,
    /// The kind of an error, which has an exit code.
    pub(crate) kind: Kind,
    /// The name of the check that found it. docs/formats.md lists all names.
    pub(crate) rule: &'static str,
    /// What is wrong.
    pub(crate) text: String,
    /// How to repair it.
    pub(crate) remedy: String,
}

impl Diagnostic {
    /// A reason why this node refuses the profile.
    pub(crate) fn error(
        rule: &'static str,
        kind: Kind,
        text: impl Into<String>,
        remedy: &str,
    ) -> Self {
        Self {
            line: None,
            severity: Severity::Error,
            kind,
            rule,
            text: text.into(),
            remedy: remedy.to_owned(),
        }
    }

    /// Something that will not work as expected.
    pub(crate) fn warning(rule: &'static str, text: impl Into<String>, remedy: &str) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(rule, Kind::Policy, text, remedy)
        }
    }

    /// Something that could not be checked.
    pub(crate) fn note(rule: &'static str, text: impl Into<String>, remedy: &str) -> Self {
        Self {
            severity: Severity::Note,
            ..Self::error(rule, Kind::Policy, text, remedy)
        }
    }

    /// The same diagnostic with a line.
    #[must_use]
    pub(crate) fn at(self, line: Option<usize>) -> Self {
        Self { line, ..self }
    }
}

/// An error as a diagnostic, with its remedy.
#[must_use]
pub(crate) fn of_error(rule: &'static str, e: &Error) -> Diagnostic {
    let remedy = e.remedy();
    let remedy = remedy.as_deref().unwrap_or("see apparmor.d(5)");
    Diagnostic::error(rule, e.kind(), e.without_remedy(), remedy)
}

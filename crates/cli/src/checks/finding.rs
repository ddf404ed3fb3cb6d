//! The result of one check.

use serde::Serialize;

use oci_apparmor::error::{Error, Kind};

/// The result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// As it must be.
    Ok,
    /// Not as it should be, or not in use.
    Warning,
    /// Containers that name a profile do not start, or run without it.
    Failure,
}

/// One check.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    /// The part of the node that was checked.
    pub(crate) part: &'static str,
    #[serde(rename = "verdict")]
    pub(crate) status: Status,
    /// What was found.
    pub(crate) text: String,
    /// How to repair it.
    pub(crate) remedy: Option<String>,
    /// The exit code of a failure.
    #[serde(skip)]
    pub(crate) kind: Kind,
}

impl Finding {
    pub(crate) fn ok(part: &'static str, text: impl Into<String>) -> Self {
        let (status, kind) = (Status::Ok, Kind::Internal);
        Self {
            part,
            status,
            text: text.into(),
            remedy: None,
            kind,
        }
    }

    pub(crate) fn warning(
        part: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let status = Status::Warning;
        Self {
            status,
            remedy: Some(remedy.into()),
            ..Self::ok(part, text)
        }
    }

    pub(crate) fn failure(
        part: &'static str,
        kind: Kind,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::Failure,
            kind,
            ..Self::warning(part, text, remedy)
        }
    }

    /// An error, with its remedy.
    pub(crate) fn error(part: &'static str, e: &Error) -> Self {
        let remedy = e
            .remedy()
            .unwrap_or_else(|| "see oci-apparmor(8)".to_owned());
        Self::failure(part, e.kind(), e.without_remedy(), remedy)
    }
}

//! One finding of `check`: what was found, how bad it is, and what to do about it.

use serde::Serialize;

use crate::report::table::{Cell, Tone};
use oci_apparmor::error::{Error, Kind};

/// The part of the findings about engines.
pub(crate) const ENGINES: &str = "engines";

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

impl Status {
    /// Its word, in its colour.
    pub(crate) fn cell(self) -> Cell {
        match self {
            Self::Ok => Cell::new("ok", Tone::Good),
            Self::Warning => Cell::new("warning", Tone::Warning),
            Self::Failure => Cell::new("failure", Tone::Bad),
        }
    }
}

/// One check.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) part: &'static str,
    pub(crate) status: Status,
    pub(crate) text: String,
    pub(crate) remedy: Option<String>,
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
        let remedy = e.remedy();
        let remedy = remedy.unwrap_or_else(|| "see oci-apparmor(8)".to_owned());
        Self::failure(part, e.kind(), e.without_remedy(), remedy)
    }
}

//! One finding of `check`: what was found, how bad it is, and what to do about it.

use serde::Serialize;

use crate::cli::table::{Cell, Tone};
use crate::error::{Error, Kind};

/// The part of the findings about engines.
pub(super) const ENGINES: &str = "engines";

/// The result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// As it must be.
    Ok,
    /// Not as it should be, or not in use.
    Warning,
    /// Containers that name a profile do not start, or run without it.
    Failure,
}

impl Status {
    /// Its word, in its colour.
    pub(super) fn cell(self) -> Cell {
        match self {
            Self::Ok => Cell::new("ok", Tone::Good),
            Self::Warning => Cell::new("warning", Tone::Warning),
            Self::Failure => Cell::new("failure", Tone::Bad),
        }
    }
}

/// One check.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) part: &'static str,
    pub(super) status: Status,
    pub(super) text: String,
    pub(super) remedy: Option<String>,
    #[serde(skip)]
    pub(super) kind: Kind,
}

impl Finding {
    pub(super) fn ok(part: &'static str, text: impl Into<String>) -> Self {
        let (status, kind) = (Status::Ok, Kind::Internal);
        Self {
            part,
            status,
            text: text.into(),
            remedy: None,
            kind,
        }
    }

    pub(super) fn warning(
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

    pub(super) fn failure(
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
    pub(super) fn error(part: &'static str, e: &Error) -> Self {
        let remedy = e.remedy();
        let remedy = remedy.unwrap_or_else(|| "see oci-apparmor(8)".to_owned());
        Self::failure(part, e.kind(), e.without_remedy(), remedy)
    }
}

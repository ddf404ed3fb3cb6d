//! Why a manifest is refused.

use std::fmt;

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// The family of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The text is not a manifest, or a field has a value that it may not have.
    Invalid,
    /// `metadata.name` may not be the name of this profile.
    Name,
}

/// One refusal: which field, why, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    field: String,
    why: String,
    remedy: Option<String>,
}

impl Error {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Invalid,
            field: String::new(),
            why: why.into(),
            remedy: None,
        }
    }

    pub(crate) fn at(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    pub(crate) fn name(mut self) -> Self {
        self.kind = ErrorKind::Name;
        self
    }

    pub(crate) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The family.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The field and what is wrong with it, in one lower-case clause.
    #[must_use]
    pub fn why(&self) -> String {
        match self.field.as_str() {
            "" => self.why.clone(),
            field => format!("{field}: {}", self.why),
        }
    }

    /// What to do about it, if there is something to say.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.remedy {
            Some(remedy) => write!(f, "{}; {remedy}", self.why()),
            None => f.write_str(&self.why()),
        }
    }
}

impl std::error::Error for Error {}

/// A value of the manifest, quoted, escaped and cut, for use inside a message.
pub(crate) fn quoted(value: &str) -> String {
    format!("{:?}", cut(value, 128))
}

/// At most `max` bytes of `text`, cut between characters.
pub(crate) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut kept = String::with_capacity(max.saturating_add(3));
    for c in text.chars() {
        if kept.len().saturating_add(c.len_utf8()) > max {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

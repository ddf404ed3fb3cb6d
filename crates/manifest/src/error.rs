//! Why a manifest is refused.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::tree::{Value, YamlNode};

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// The family of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The file is not a manifest, or a field is unknown or has a wrong value.
    Invalid,
    /// `metadata.name` cannot be the name of this profile.
    Name,
}

/// One refusal: which field, on which line, why, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    /// From the manifest down to the field.
    path: Vec<Segment>,
    line: Option<usize>,
    why: String,
    remedy: Option<String>,
}

/// One step of the way from a manifest to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

impl Error {
    /// An error of the kind [`ErrorKind::Invalid`], with the reason in one lower-case clause.
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Invalid,
            path: Vec::new(),
            line: None,
            why: why.into(),
            remedy: None,
        }
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    pub(crate) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    pub(crate) fn with_line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    /// Names the field by its keys, joined by dots.
    pub(crate) fn at(mut self, field: &str) -> Self {
        let keys = field.split('.').map(|key| Segment::Key(key.to_owned()));
        self.path = keys.collect();
        self
    }

    /// Says that the field is below this key or index.
    pub(crate) fn below(mut self, segment: Segment) -> Self {
        self.path.insert(0, segment);
        self
    }

    /// Looks up the line of the field in the manifest.
    pub(crate) fn located(mut self, manifest: &YamlNode) -> Self {
        self.line = Some(line_of(manifest, &self.path));
        self
    }

    /// The family.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The field, as in `spec.abstract.filesystem.readOnlyPaths[1]`; empty where the whole
    /// manifest or file is refused.
    #[must_use]
    pub fn field(&self) -> String {
        let mut field = String::new();
        for segment in &self.path {
            match segment {
                Segment::Index(index) => field.push_str(&format!("[{index}]")),
                Segment::Key(key) => {
                    if !field.is_empty() {
                        field.push('.');
                    }
                    // A key comes from outside, as its value does.
                    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric());
                    field.push_str(&if plain { key.clone() } else { quoted(key) });
                }
            }
        }
        field
    }

    /// The line of the file, from 1, where it is known.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The field, its line and what is wrong with it: `spec.mode (line 7): must be …`.
    #[must_use]
    pub fn reason(&self) -> String {
        let why = &self.why;
        match (self.field().as_str(), self.line) {
            ("", None) => why.clone(),
            ("", Some(line)) => format!("line {line}: {why}"),
            (field, None) => format!("{field}: {why}"),
            (field, Some(line)) => format!("{field} (line {line}): {why}"),
        }
    }

    /// What to do about it, if there is something to say.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}

impl fmt::Display for Error {
    /// The reason, and the remedy behind a semicolon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.remedy {
            Some(remedy) => write!(f, "{}; {remedy}", self.reason()),
            None => f.write_str(&self.reason()),
        }
    }
}

impl std::error::Error for Error {}

/// What serde's derived code says, in the words of this crate.
impl de::Error for Error {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::new(why.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {expected}, not {unexpected}"))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let what = match unexpected {
            Unexpected::Str(text) => quoted(text),
            other => other.to_string(),
        };
        Self::new(format!("must be {expected}, not {what}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("must be {}, not {}", or(expected), quoted(variant)))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let error = match field {
            "<<" => Self::new("merge keys are not supported").with_remedy("write the fields here"),
            _ => Self::new("unknown field")
                .with_remedy(format!("the known fields are {}", expected.join(", "))),
        };
        error.below(Segment::Key(field.to_owned()))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("is missing").below(Segment::Key(field.to_owned()))
    }
}

/// `a, b or c`.
pub(crate) fn or(words: &[&str]) -> String {
    match words {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        words => words.concat(),
    }
}

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

/// The line of the value at this path, or of the last value on the way that is there.
fn line_of(node: &YamlNode, path: &[Segment]) -> usize {
    let mut node = node;
    for segment in path {
        let next = match (segment, &node.value) {
            (Segment::Key(key), Value::Object(entries)) => entries.get(key),
            (Segment::Index(index), Value::List(items)) => items.get(*index),
            _ => None,
        };
        let Some(next) = next else { break };
        node = next;
    }
    node.line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_field_line_reason_and_remedy() {
        let e = Error::new("is wrong");
        assert_eq!(e.to_string(), "is wrong");
        let e = e.with_line(7);
        assert_eq!(e.to_string(), "line 7: is wrong");
        let e = e.at("spec.mode").with_remedy("mend it");
        assert_eq!(e.to_string(), "spec.mode (line 7): is wrong; mend it");
        let e = e
            .below(Segment::Index(3))
            .below(Segment::Key("a\nb".into()));
        assert_eq!(e.field(), "\"a\\nb\"[3].spec.mode");
        assert_eq!((e.line(), e.remedy()), (Some(7), Some("mend it")));
    }

    #[test]
    fn words_are_joined_and_values_are_cut_between_characters() {
        assert_eq!(or(&[]), "");
        assert_eq!(or(&["a"]), "a");
        assert_eq!(or(&["a", "b", "c"]), "a, b or c");
        assert_eq!(cut("ääää", 5), "ää…");
        assert!(quoted(&"\n".repeat(500)).len() < 270);
    }
}

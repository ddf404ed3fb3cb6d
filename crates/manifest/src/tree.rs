//! The values of a YAML document.

use std::collections::BTreeMap;

/// One value, and the line on which it or its key starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct YamlNode {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false` without quotes.
    Flag(bool),
    /// A number without quotes. No field of a manifest is a number.
    Number(String),
    /// A word without quotes that is a boolean in YAML 1.1 and text in YAML 1.2.
    Ambiguous(String),
    Text(String),
    List(Vec<YamlNode>),
    Object(BTreeMap<String, YamlNode>),
    Refused(Refusal),
}

/// What is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    Alias,
    Tag(String),
    /// An object with this key twice. Readers differ in which of the two they take.
    Twice(String),
    /// An object with a key that is a list, an object or an alias.
    Key,
}

impl YamlNode {
    /// The value of a key, if this is an object that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Object(entries) => entries.get(key),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

//! Labels: the profiles that confine a process.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::apparmor::name::profile::{ProfileName, STACK};
use crate::error::{Error, Result};

/// The label of a process: one profile, a stack of profiles that each restrict it, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(Vec<ProfileName>);

impl Label {
    /// The label `unconfined`.
    #[must_use]
    pub fn unconfined() -> Self {
        Self(Vec::new())
    }

    /// The label of these profiles. Duplicates are dropped.
    #[must_use]
    pub fn of(names: impl IntoIterator<Item = ProfileName>) -> Self {
        let mut components: Vec<ProfileName> = Vec::new();
        for name in names {
            if !components.contains(&name) {
                components.push(name);
            }
        }
        Self(components)
    }

    /// Parses a label from a runtime configuration: `A`, `A//&B` or `unconfined`.
    ///
    /// # Errors
    /// As for [`ProfileName::parse`], for the first component that is not allowed.
    pub fn parse(text: &str) -> Result<Self> {
        if text == "unconfined" {
            return Ok(Self::unconfined());
        }
        let names: Result<Vec<_>> = text.split(STACK).map(ProfileName::parse).collect();
        Ok(Self::of(names?))
    }

    /// Its profiles; none for `unconfined`.
    #[must_use]
    pub fn components(&self) -> &[ProfileName] {
        &self.0
    }

    /// Whether both labels have the same profiles; the kernel does not keep the order of a stack.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().all(|name| other.0.contains(name))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("unconfined");
        }
        for (i, name) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(STACK)?;
            }
            f.write_str(name.as_str())?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Label {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records contain labels.
    #[test]
    fn labels_are_serialized_as_text() {
        let label = Label::parse("b//&a").unwrap();
        let text = serde_json::to_string(&label).unwrap();
        assert_eq!(text, r#""b//&a""#);
        assert_eq!(serde_json::from_str::<Label>(&text).unwrap(), label);
        assert!(serde_json::from_str::<Label>(r#""a//&:ns:b""#).is_err());
    }

    #[test]
    fn labels_are_sets_that_keep_their_order() {
        let label = Label::parse("b//&a//&b").unwrap();
        assert_eq!(label.to_string(), "b//&a");
        assert!(label.same(&Label::parse("a//&b").unwrap()));
        assert!(!label.same(&Label::parse("a").unwrap()));
        assert_eq!(
            Label::parse("unconfined").unwrap().to_string(),
            "unconfined"
        );
        for bad in ["", "a//&", "//&a", "a//&unconfined", "unconf", "a//&u"] {
            assert!(Label::parse(bad).is_err(), "{bad:?}");
        }
    }
}

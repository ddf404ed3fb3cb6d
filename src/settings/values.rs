//! The values of the configuration that are checked when they are read.

use std::path::{Path, PathBuf};

use crate::apparmor::name::ProfileName;

/// A profile's name is no path, although it may look like one: `*` and `?` also match `/` and a dot
/// at the start.
const WHOLE_NAME: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: false,
    require_literal_leading_dot: false,
};

/// Paths as a message lists them.
#[must_use]
pub fn listed(paths: &[AbsolutePath]) -> String {
    let paths: Vec<_> = paths
        .iter()
        .map(|p| p.as_path().display().to_string())
        .collect();
    paths.join(", ")
}

pub(super) fn paths(list: &[&'static str]) -> Vec<AbsolutePath> {
    list.iter().copied().map(AbsolutePath::of).collect()
}

/// An absolute path: a relative one would depend on the working directory of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsolutePath(PathBuf);

impl AbsolutePath {
    /// A path that is known to be absolute.
    pub(super) fn of(path: &'static str) -> Self {
        Self(PathBuf::from(path))
    }

    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl TryFrom<PathBuf> for AbsolutePath {
    type Error = String;
    fn try_from(path: PathBuf) -> std::result::Result<Self, String> {
        if path.is_absolute() {
            Ok(Self(path))
        } else {
            Err(format!("the path {path:?} must be absolute"))
        }
    }
}

/// A shell pattern over whole names: `?`, `*` (which also matches `/`) and `[…]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(glob::Pattern);

impl Pattern {
    /// Whether the name matches.
    #[must_use]
    pub fn matches(&self, name: &ProfileName) -> bool {
        self.matches_text(name.as_str())
    }

    /// Whether a text matches that is not a profile name.
    #[must_use]
    pub fn matches_text(&self, text: &str) -> bool {
        self.0.matches_with(text, WHOLE_NAME)
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;
    fn try_from(text: String) -> std::result::Result<Self, String> {
        match glob::Pattern::new(&text) {
            Ok(pattern) if !text.is_empty() => Ok(Self(pattern)),
            Ok(_) => Err("a pattern must not be empty".to_owned()),
            Err(e) => Err(format!("the pattern {text:?} is malformed: {}", e.msg)),
        }
    }
}

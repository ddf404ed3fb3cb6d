//! AppArmorProfile manifests of the Security Profiles Operator as text of AppArmor's language.
//!
//! [`read`] takes the bytes of a file and returns its manifests, each with the text of its profile
//! or the reason why there is none. Nothing here touches the system.
//!
//! Manifests may come from anywhere, and their values are copied into rules. So a value that is
//! not known to be harmless in its place is refused: the text has the rules that the fields stand
//! for, and no others.
//!
//! | module | what |
//! |---|---|
//! | `file` | documents and lists of a file; two manifests of one name |
//! | `api` | the fields of `v1` and `v1alpha1` as serde types, and what their values must be |
//! | `path`, `capability` | values that are copied into rules |
//! | `text` | rules as text |
//! | `de` | serde's view of a YAML tree |
//! | `edit`, `lines` | adds rules to a manifest in a text whose other bytes stay |
//! | `yaml`, `scalar` | YAML as a tree: what is a string, what is refused |
//!
//! The rules for names of profiles in general are AppArmor's and not checked here; a caller that
//! loads what is rendered checks [`Manifest::name`].

mod api;
mod capability;
mod de;
mod edit;
mod error;
mod file;
mod lines;
mod path;
mod scalar;
mod text;
mod tree;
mod yaml;

pub use crate::edit::{Additions, add, replace_policy, with_policy};
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::file::read;

/// One manifest of a file.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Its place in the file: `document 2`, or `document 2, item 3` of a list.
    pub place: String,
    /// The profile's name, if it could be read. A manifest that is refused can have one.
    pub name: Option<String>,
    /// The profile, or why there is none.
    pub rendered: Result<Rendered>,
}

/// The profile of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Its name in the kernel: `metadata.name`, made of ASCII letters, digits, `_`, `.` and `-`.
    pub name: String,
    /// Whether the manifest asks for complain mode; the text then has that flag. With
    /// `spec.policy` this is false, and the mode is what the text says.
    pub complain: bool,
    /// Whether the manifest says that the profile is not to be loaded.
    pub disabled: bool,
    /// Whether the text is that of `spec.policy`; otherwise it is made of `spec.abstract`.
    pub has_policy: bool,
    /// Its text.
    pub text: String,
}

/// Whether a text can be a path of a manifest: a pattern without escapes.
#[must_use]
pub fn is_path(text: &str) -> bool {
    path::Path::parse(text).is_ok()
}

#[cfg(test)]
mod tests;

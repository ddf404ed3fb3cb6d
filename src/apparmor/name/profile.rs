//! A profile name that is safe to use.
//!
//! Profile names come from annotations and are hostile. The kernel gives some of them another
//! meaning: `&x` stacks, `:ns:x` selects a policy namespace, and every *prefix* of `unconfined`
//! that is not loaded means `unconfined` (`aa_lookupn_profile()` compares only as many bytes as
//! the name has, security/apparmor/policy.c). A [`ProfileName`] is none of these.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result, quoted};

/// What separates the components of a stack.
pub(super) const STACK: &str = "//&";

/// The longest name, in bytes: the source of a profile is a file of its name.
const MAX: usize = 255;

/// The name of exactly one profile in this policy namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProfileName(String);

impl ProfileName {
    /// How the names of profiles begin that are loaded only to be asked about, and then removed
    /// (`why`, `suggest`). A process of a removed profile is unconfined, so no container may have one.
    pub const TRIAL: &str = "oci-apparmor.trial.";

    /// Checks a name.
    ///
    /// # Errors
    /// [`Kind::Policy`], with the rule that the name breaks.
    pub fn parse(text: &str) -> Result<Self> {
        match broken_rule(text) {
            None => Ok(Self(text.to_owned())),
            Some(rule) => Err(Error::new(
                Kind::Policy,
                format!("the profile name {} is refused: {rule}", quoted(text)),
            )
            .with_remedy("use the exact name of one profile")),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its source file: without a leading `/`, and `.` for every other `/`, as in
    /// `/etc/apparmor.d`.
    #[must_use]
    pub fn file_name(&self) -> String {
        self.0.trim_start_matches('/').replace('/', ".")
    }

    /// The top-level profile: this one, or the one that it is a child of.
    #[must_use]
    pub fn root(&self) -> Self {
        Self(self.0.split("//").next().unwrap_or_default().to_owned())
    }

    /// Whether it is loaded only to be asked about; see [`Self::TRIAL`].
    #[must_use]
    pub fn is_trial(&self) -> bool {
        self.0.starts_with(Self::TRIAL)
    }

    /// The names of the profiles that it is a child of, top-level first, and its own name.
    pub fn lineage(&self) -> impl Iterator<Item = &str> {
        let ends = self.0.match_indices("//").map(|(end, _)| end);
        ends.chain([self.0.len()])
            .filter_map(|end| self.0.get(..end))
    }

    /// Whether `name` is this profile or one of its children.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        match name.strip_prefix(self.as_str()) {
            Some("") => true,
            Some(rest) => rest.starts_with("//"),
            None => false,
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ProfileName {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<ProfileName> for String {
    fn from(name: ProfileName) -> Self {
        name.0
    }
}

/// The rule that `name` breaks, if any.
fn broken_rule(name: &str) -> Option<&'static str> {
    let Some(first) = name.bytes().next() else {
        return Some("it is empty");
    };
    if name.len() > MAX {
        return Some("it is longer than 255 bytes");
    }
    if let Some(bad) = name.bytes().find_map(forbidden) {
        return Some(bad);
    }
    if !(first.is_ascii_alphanumeric() || first == b'/' || first == b'_') {
        return Some("it must start with a letter, a digit, '/' or '_'");
    }
    if name.contains(STACK) {
        return Some("it is a stack ('//&')");
    }
    if name.ends_with('/') || name.split("//").any(str::is_empty) {
        return Some("it has an empty component");
    }
    if name.split('/').any(|part| matches!(part, "." | "..")) {
        return Some("it has a '.' or '..' part");
    }
    if "unconfined".starts_with(name) {
        return Some("the kernel takes every prefix of \"unconfined\" for unconfined");
    }
    None
}

/// Why a byte is not allowed in a name.
fn forbidden(byte: u8) -> Option<&'static str> {
    match byte {
        b':' => Some("':' would leave the policy namespace"),
        b' ' | b'\t' | b'\n' | b'\r' => Some("it contains white space"),
        b'"' | b'\'' | b'\\' => Some("it contains a quote or a backslash"),
        0x21..=0x7e => None,
        _ => Some("it contains a byte that is not printable ASCII"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Records contain names.
    #[test]
    fn names_are_serialized_as_text() {
        let name = ProfileName::parse("/usr/bin/foo").unwrap();
        let text = serde_json::to_string(&name).unwrap();
        assert_eq!(text, r#""/usr/bin/foo""#);
        assert_eq!(serde_json::from_str::<ProfileName>(&text).unwrap(), name);
        assert!(serde_json::from_str::<ProfileName>(r#""un""#).is_err());
    }

    #[test]
    fn usual_names_are_accepted() {
        for name in [
            "p",
            "docker-default",
            "cri-containerd.apparmor.d",
            "/usr/bin/foo",
            "a//b",
            "k8s.io/foo_1",
            "_x",
            "0x",
            "uncle",
            "unconfined2",
            "un-x",
            "a{b,c}*",
            "x..y",
        ] {
            assert!(ProfileName::parse(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_with_another_meaning_are_refused() {
        for name in [
            "",
            "u",
            "un",
            "unc",
            "unconf",
            "unconfine",
            "unconfined",
            "&x",
            ":ns:x",
            "ns:x",
            "a//&b",
            "a//",
            "a/",
            "/",
            "//",
            "//a",
            "a////b",
            "a///b//",
            "a b",
            "a\tb",
            "a\nb",
            "a\0b",
            "a\"b",
            "a'b",
            "a\\b",
            "ä",
            "../x",
            "a/../b",
            "/.",
            "/..",
            "a/./b",
            "..",
            ".x",
            "-x",
            "=x",
        ] {
            assert!(ProfileName::parse(name).is_err(), "{name:?}");
        }
        assert!(ProfileName::parse(&"x".repeat(255)).is_ok());
        assert!(ProfileName::parse(&"x".repeat(256)).is_err());
    }

    /// `profile web { profile /bin/x { … } }` is `web///bin/x` to the kernel, which ends the
    /// parent's name at the first `//` (`__lookup_parent()`, security/apparmor/policy.c).
    #[test]
    fn a_child_may_be_named_by_a_path() {
        let name = ProfileName::parse("web///bin/x").unwrap();
        assert_eq!(name.root().as_str(), "web");
        let lineage: Vec<_> = name.lineage().collect();
        assert_eq!(lineage, ["web", "web///bin/x"]);
        assert!(name.root().covers(name.as_str()));
        let below = ProfileName::parse("/usr/bin/x///bin/y//z").unwrap();
        let lineage: Vec<_> = below.lineage().collect();
        assert_eq!(
            lineage,
            ["/usr/bin/x", "/usr/bin/x///bin/y", "/usr/bin/x///bin/y//z"]
        );
    }

    #[test]
    fn children_belong_to_their_parent() {
        let name = ProfileName::parse("a").unwrap();
        assert!(name.covers("a") && name.covers("a//b"));
        assert!(!name.covers("ab") && !name.covers("a/b") && !name.covers("b"));
    }

    proptest! {
        /// An accepted name is one printable word that the kernel reads as one profile's name.
        #[test]
        fn an_accepted_name_is_one_profile(text in "[ -~]{0,20}|[uncofied/&:.]{1,8}|\\PC{0,8}") {
            if let Ok(name) = ProfileName::parse(&text) {
                let name = name.as_str();
                prop_assert_eq!(name, &text);
                prop_assert!(!"unconfined".starts_with(name));
                prop_assert!(name.bytes().all(|b| b.is_ascii_graphic()));
                prop_assert!(!name.starts_with('&') && !name.contains(':') && !name.contains("//&"));
                prop_assert!(!ProfileName::parse(name).unwrap().file_name().contains('/'));
                prop_assert!(!ProfileName::parse(name).unwrap().file_name().is_empty());
            }
        }
    }
}

//! The confinement of a task as the kernel prints it: `A//&B (mode)`.

use std::collections::BTreeSet;
use std::fmt;

use crate::apparmor::name::Label;

/// The contents of a file in `/proc/PID/attr/apparmor`.
///
/// The kernel orders the components of a stack as it likes, and prints one mode for all of them,
/// or `mixed` (`aa_label_snxprint()`, security/apparmor/label.c).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement(String);

impl Confinement {
    /// Takes what was read from the kernel.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim_end().to_owned())
    }

    /// The text, without its line end. It is empty if no label is set.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The mode in brackets. `unconfined` has none.
    #[must_use]
    pub fn mode(&self) -> Option<&str> {
        self.parts().1
    }

    /// The components of the stack, `unconfined` included.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.parts().0.split("//&")
    }

    /// The top-level profiles, each once, without `unconfined`.
    #[must_use]
    pub fn profiles(&self) -> BTreeSet<&str> {
        self.components()
            .filter(|component| !matches!(*component, "" | "unconfined"))
            .map(|component| component.split_once("//").map_or(component, |(top, _)| top))
            .collect()
    }

    /// Whether every profile of `label` is a component. A child counts as its parent.
    #[must_use]
    pub fn includes(&self, label: &Label) -> bool {
        let mut names = label.components().iter();
        names.all(|name| self.components().any(|c| name.covers(c)))
    }

    fn parts(&self) -> (&str, Option<&str>) {
        let inner = self.0.strip_suffix(')');
        match inner.and_then(|text| text.rsplit_once(" (")) {
            Some((label, mode)) => (label, Some(mode)),
            None => (&self.0, None),
        }
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_and_mode_are_read() {
        for (text, components, mode) in [
            ("p (enforce)\n", &["p"][..], Some("enforce")),
            ("a//child//&b (mixed)", &["a//child", "b"], Some("mixed")),
            ("has (brackets) (kill)", &["has (brackets)"], Some("kill")),
            ("unconfined\n", &["unconfined"], None),
            ("", &[""], None),
        ] {
            let confinement = Confinement::new(text);
            assert_eq!(
                confinement.components().collect::<Vec<_>>(),
                components,
                "{text}"
            );
            assert_eq!(confinement.mode(), mode, "{text}");
        }
    }

    #[test]
    fn profiles_are_top_level_profiles() {
        for (text, expected) in [
            ("p (enforce)\n", &["p"][..]),
            ("a//child//&b (mixed)", &["a", "b"]),
            ("a//x//&a//y (enforce)", &["a"]),
            ("docker-default//&unconfined (enforce)", &["docker-default"]),
            ("has (brackets) (complain)", &["has (brackets)"]),
            ("unconfined\n", &[]),
            ("", &[]),
        ] {
            let confinement = Confinement::new(text);
            let profiles: Vec<&str> = confinement.profiles().into_iter().collect();
            assert_eq!(profiles, expected, "{text}");
        }
    }

    #[test]
    fn a_stack_includes_a_label_in_any_order() {
        let label = Label::parse("a//&b").unwrap();
        for (text, expected) in [
            ("b//&a (enforce)", true),
            ("a//child//&crun//&b (mixed)", true),
            ("a (enforce)", false),
            ("unconfined", false),
        ] {
            assert_eq!(Confinement::new(text).includes(&label), expected, "{text}");
        }
    }
}

//! Profiles that complain mode creates for programs that no rule allows to execute.
//!
//! Their name is that of the parent, `//null-`, and the program: `web//null-/bin/sh//null-/bin/cat`
//! (`aa_new_learning_profile()`, security/apparmor/policy.c). Kernels before 4.12, and later ones if the
//! name exists, write a hexadecimal number instead of the program.

use crate::text::OutsideText;

const MARK: &[u8] = b"//null-";
const STACK: &[u8] = b"//&";

/// The profile in a policy that a name comes from, and how the process came there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage<'l> {
    /// The name before the first `//null-`.
    pub profile: &'l [u8],
    /// The programs that were executed, as far as the name says it.
    pub programs: Vec<&'l [u8]>,
}

impl<'l> Lineage<'l> {
    /// Of the name of a profile, without a stack.
    #[must_use]
    pub fn of(profile: &'l [u8]) -> Self {
        let mut parts = split(profile, MARK);
        let profile = parts.next().unwrap_or_default();
        Self {
            profile,
            programs: parts.filter(|part| part.starts_with(b"/")).collect(),
        }
    }
}

/// The label that a process has when the programs that it executed inherit its profile. Each component
/// of a stack is taken by itself, and equal ones are one.
#[must_use]
pub fn folded(label: &OutsideText) -> OutsideText {
    if !contains(label.bytes(), MARK) {
        return label.clone();
    }
    let mut components: Vec<&[u8]> = Vec::new();
    for component in split(label.bytes(), STACK) {
        let profile = Lineage::of(component).profile;
        if !components.contains(&profile) {
            components.push(profile);
        }
    }
    OutsideText::new(components.join(STACK))
}

fn contains(text: &[u8], mark: &[u8]) -> bool {
    text.windows(mark.len()).any(|part| part == mark)
}

/// The parts of a text between marks.
fn split<'t>(text: &'t [u8], mark: &'static [u8]) -> impl Iterator<Item = &'t [u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let at = text.windows(mark.len()).position(|part| part == mark);
        let (part, behind) = match at.and_then(|at| text.split_at_checked(at)) {
            Some((part, behind)) => (part, behind.strip_prefix(mark)),
            None => (text, None),
        };
        rest = behind;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_belongs_to_its_first_profile() {
        for (name, profile, programs) in [
            ("web", "web", &[][..]),
            ("web//null-/bin/sh", "web", &["/bin/sh"]),
            (
                "web//child//null-/bin/sh//null-/bin/a b",
                "web//child",
                &["/bin/sh", "/bin/a b"],
            ),
            ("web//null-1a", "web", &[]),
            ("web//null-/bin/sh//null-3", "web", &["/bin/sh"]),
        ] {
            let lineage = Lineage::of(name.as_bytes());
            assert_eq!(lineage.profile, profile.as_bytes(), "{name}");
            let programs: Vec<_> = programs.iter().map(|p: &&str| p.as_bytes()).collect();
            assert_eq!(lineage.programs, programs, "{name}");
        }
    }

    #[test]
    fn labels_of_processes_are_folded() {
        for (label, result) in [
            ("web", "web"),
            ("a//&b", "a//&b"),
            ("web//null-/bin/sh", "web"),
            ("web//null-/a//&b//null-/a//null-/c", "web//&b"),
            ("web//null-/a//&web//null-/b", "web"),
        ] {
            assert_eq!(&folded(&OutsideText::new(label.as_bytes())), result);
        }
    }
}

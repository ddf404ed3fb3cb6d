//! `pod_annotations`: the patterns of the annotations that containerd copies from a pod to its
//! containers.
//!
//! The patterns are those of Go's `path.Match`. The `glob` crate cannot match them: it has no `\`
//! escapes, negates a class with `[!`, not with `[^`, and refuses `**`.

use oci_apparmor::request::{BETA_KEY, CONTAINER_KEY, PLAIN_KEY};

/// Annotations of oci-apparmor that start with the same prefix.
struct Family {
    /// The pattern that matches all of them, and no others.
    pattern: &'static str,
    prefix: &'static str,
    /// Examples of what follows the prefix. A pattern that matches all of them matches any.
    names: &'static [&'static str],
}

/// Names that a container can have. Only a pattern for any name matches all of them.
const NAMES: [&str; 3] = ["a", "web-0", "9zzzz"];

const FAMILIES: [Family; 3] = [
    Family {
        pattern: "container.apparmor.security.beta.kubernetes.io/*",
        prefix: BETA_KEY,
        names: &NAMES,
    },
    Family {
        pattern: "oci-apparmor/*",
        prefix: PLAIN_KEY,
        names: &[""],
    },
    Family {
        pattern: "container.oci-apparmor/*",
        prefix: CONTAINER_KEY,
        names: &NAMES,
    },
];

/// The patterns that have to be added to these, so that containerd passes on all annotations of
/// oci-apparmor.
pub(super) fn missing(patterns: &[String]) -> Vec<&'static str> {
    let passes = |family: &&Family| {
        family.names.iter().all(|name| {
            let key = format!("{}{name}", family.prefix);
            patterns.iter().any(|pattern| matches(pattern, &key))
        })
    };
    FAMILIES
        .iter()
        .filter(|family| !passes(family))
        .map(|family| family.pattern)
        .collect()
}

/// The patterns that seem to be meant for annotations of oci-apparmor, and match none of them.
pub(super) fn useless(patterns: &[String]) -> Vec<&str> {
    let passes_any = |pattern: &str| {
        FAMILIES.iter().any(|family| {
            let mut keys = family.names.iter().map(|n| format!("{}{n}", family.prefix));
            keys.any(|key| matches(pattern, &key))
        })
    };
    let patterns = patterns.iter().map(String::as_str);
    patterns
        .filter(|p| p.contains("apparmor") && !passes_any(p))
        .collect()
}

/// Whether a pattern matches a key, as Go's `path.Match` does: `*` and `?` do not match a slash. A
/// malformed pattern matches nothing: containerd ignores it (`PassThroughAnnotationsFilter`,
/// `util.go`).
fn matches(pattern: &str, key: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let key: Vec<char> = key.chars().collect();
    fits(&pattern, &key)
}

fn fits(pattern: &[char], key: &[char]) -> bool {
    match (pattern.split_first(), key.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some(('*', rest)), None) => fits(rest, key),
        (Some(('*', rest)), Some((c, behind))) => {
            fits(rest, key) || (*c != '/' && fits(pattern, behind))
        }
        (Some(('?', rest)), Some((c, behind))) => *c != '/' && fits(rest, behind),
        (Some(('[', class)), Some((c, behind))) => {
            in_class(class, *c).is_some_and(|(is, rest)| is && fits(rest, behind))
        }
        (Some(('\\', escaped)), Some((c, behind))) => match escaped.split_first() {
            Some((p, rest)) => p == c && fits(rest, behind),
            None => false,
        },
        (Some((p, rest)), Some((c, behind))) => p == c && fits(rest, behind),
        (Some(_), None) => false,
    }
}

/// Whether a character class contains `c`, and the pattern after the class. `class` starts after
/// its bracket.
fn in_class(class: &[char], c: char) -> Option<(bool, &[char])> {
    let (negated, mut rest) = match class.split_first() {
        Some(('^', rest)) => (true, rest),
        _ => (false, class),
    };
    let mut held = false;
    let mut empty = true;
    loop {
        let (first, behind) = rest.split_first()?;
        if *first == ']' && !empty {
            return Some((held != negated, behind));
        }
        empty = false;
        let (low, behind) = one(rest)?;
        let (high, behind) = match behind.split_first() {
            Some(('-', range)) => one(range)?,
            _ => (low, behind),
        };
        held |= (low..=high).contains(&c);
        rest = behind;
    }
}

/// One character of a class, which may be escaped, and the pattern after it.
fn one(class: &[char]) -> Option<(char, &[char])> {
    match class.split_first()? {
        ('\\', rest) => rest.split_first().map(|(c, rest)| (*c, rest)),
        ('-' | ']', _) => None,
        (c, rest) => Some((*c, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(patterns: &[&str]) -> Vec<String> {
        patterns.iter().map(|p| (*p).to_owned()).collect()
    }

    #[test]
    fn all_three_patterns_are_needed() {
        let all = of(&FAMILIES.map(|f| f.pattern));
        assert_eq!(missing(&all), [""; 0]);
        assert_eq!(useless(&all), [""; 0]);
        for family in &FAMILIES {
            let others: Vec<String> = all
                .iter()
                .filter(|p| *p != family.pattern)
                .cloned()
                .collect();
            assert_eq!(missing(&others), [family.pattern]);
        }
        assert_eq!(missing(&[]).len(), 3);
    }

    #[test]
    fn patterns_that_match_too_little_are_known() {
        // As containerd's own code does.
        for narrow in [
            "oci-apparmor*",
            "container.*",
            "*",
            "oci-apparmor",
            "[",
            "oci-apparmor/\\",
        ] {
            assert_eq!(missing(&of(&[narrow])).len(), 3, "{narrow}");
        }
        assert_eq!(
            useless(&of(&["oci-apparmor*", "other/*"])),
            ["oci-apparmor*"]
        );
        assert_eq!(
            missing(&of(&["*oci-apparmor/*"])).len(),
            1,
            "wide is enough"
        );
        assert_eq!(missing(&of(&["*/*"])).len(), 0);
        assert_eq!(missing(&of(&["oci-apparmor/profile"])).len(), 2);
        assert_eq!(missing(&of(&["container.oci-apparmor/web*"])).len(), 3);
    }

    #[test]
    fn it_matches_as_go_does() {
        for (pattern, key, is) in [
            ("a/*", "a/b", true),
            ("a/*", "a/b/c", false),
            ("a/*", "a/", true),
            ("*", "", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]x", "]x", false),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[\\]]", "]", true),
            ("a*b*c", "a1b2c", true),
        ] {
            assert_eq!(matches(pattern, key), is, "{pattern} {key}");
        }
    }
}

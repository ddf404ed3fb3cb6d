//! Which annotations of a pod containerd passes on to us: `pod_annotations`. Pure.

use oci_apparmor::request::{BETA_KEY, CONTAINER_KEY, PLAIN_KEY};

/// A family of our keys: the pattern that lets just them pass, and keys that it must let pass.
struct Family {
    pattern: &'static str,
    prefix: &'static str,
    names: &'static [&'static str],
}

/// Names that a container can have, so different that no pattern for one name fits all.
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

/// The patterns that are still needed, beside these.
#[must_use]
pub fn missing(patterns: &[String]) -> Vec<&'static str> {
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

/// Those that look like ours, and let none of our keys pass.
#[must_use]
pub fn idle(patterns: &[String]) -> Vec<&str> {
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

/// Whether a pattern matches a key as Go's `path.Match` has it: `*` and `?` stop at a slash. A
/// malformed pattern matches nothing, which is what containerd makes of it (`util.go`,
/// `PassThroughAnnotationsFilter`).
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

/// Whether a class, read from behind its bracket, holds `c`; and what comes behind it.
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

/// One character of a class, which may be escaped.
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
    fn the_three_patterns_pass_everything_of_ours_and_no_one_less_does() {
        let all = of(&FAMILIES.map(|f| f.pattern));
        assert_eq!(missing(&all), [""; 0]);
        assert_eq!(idle(&all), [""; 0]);
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
    fn patterns_that_let_nothing_pass_are_known() {
        // As it was seen with containerd's own code.
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
        assert_eq!(idle(&of(&["oci-apparmor*", "other/*"])), ["oci-apparmor*"]);
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

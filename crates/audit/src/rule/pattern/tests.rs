// Tests may fail by panicking.
#![allow(clippy::arithmetic_side_effects, clippy::string_slice)]

use super::*;
use proptest::prelude::*;

fn text(bytes: &[u8]) -> PatternPart {
    PatternPart::Text(OutsideText::new(bytes))
}

/// What apparmor_parser makes of a name in a rule: `processquoted()` replaces the escapes, and marks a
/// result that has a meaning with a backslash; `convert_aaregex_to_pcre()` takes what is marked for
/// itself. `None` if it has a meaning.
fn read_by_the_parser(written: &str) -> Option<Vec<u8>> {
    let inner = written.strip_prefix('"').and_then(|w| w.strip_suffix('"'));
    let bare = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
    let Some(inner) = inner else {
        return written.bytes().all(bare).then(|| written.into());
    };
    let mut rest = inner.as_bytes();
    let mut name = Vec::new();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'\\' => match behind {
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    behind @ ..,
                ] => {
                    name.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                    rest = behind;
                }
                [glob, behind @ ..] if b"*?[]{}^".contains(glob) => {
                    name.push(*glob);
                    rest = behind;
                }
                _ => return None,
            },
            b'"' | b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'^' | b',' => return None,
            b' '..=b'~' => name.push(*first),
            _ => return None,
        }
    }
    Some(name)
}

#[test]
fn names_are_written_with_escapes() {
    for (name, written) in [
        (&b"/etc/hosts"[..], "/etc/hosts"),
        (b"/a b", r#""/a b""#),
        (b"/usr/lib/libstdc++.so.6", r#""/usr/lib/libstdc++.so.6""#),
        (b"/\xe9\n", r#""/\351\012""#),
        (b"/x\" r, /** rw,", r#""/x\042 r\054 /\*\* rw\054""#),
        (b"/@{HOME}/[^a]?*", r#""/@\{HOME\}/\[\^a\]\?\*""#),
        (br"/a\", r#""/a\134""#),
        (b"/#include <x>", r##""/#include <x>""##),
        (b"", r#""""#),
    ] {
        assert_eq!(NamePattern::exactly(name).to_string(), written);
    }
}

#[test]
fn wildcards_are_written_and_match() {
    let pattern = NamePattern::of(vec![
        text(b"/tmp/a b"),
        PatternPart::Number,
        text(b"."),
        PatternPart::Bytes(3),
        PatternPart::Any,
    ]);
    assert_eq!(pattern.to_string(), r#""/tmp/a b[0-9]*.???*""#);
    for (name, matches) in [
        (&b"/tmp/a b1.abc"[..], true),
        (b"/tmp/a b12x.abcd", true),
        (b"/tmp/a b.abc", false),
        (b"/tmp/a b1.ab", false),
        (b"/tmp/a b1.a/c", false),
        (b"/tmp/a b1.abc/", false),
    ] {
        assert_eq!(pattern.matches(name), matches, "{name:?}");
    }
}

#[test]
fn a_common_name_is_found() {
    let number = NamePattern::of(vec![text(b"/proc/"), PatternPart::Number, text(b"/mem")]);
    for (glob, overlaps) in [
        ("/proc/[0-9]*/mem", true),
        ("/proc/sys/**", false),
        ("/proc/*/*", true),
        ("/proc/*", false),
        ("/**", true),
        ("/**/mem", true),
        ("/proc/?/mem", true),
        ("/proc/x1/mem", false),
    ] {
        assert_eq!(number.overlaps(glob), overlaps, "{glob}");
    }
    let any = NamePattern::of(vec![text(b"/run/"), PatternPart::Any, text(b".sock")]);
    assert!(any.overlaps("/**/docker.sock"));
    assert!(!any.overlaps("/run/secrets/**"));
    let long = NamePattern::of(vec![
        PatternPart::Any,
        text(&[b'a'; 4000]),
        PatternPart::Any,
    ]);
    assert!(!long.matches(&[b'a'; 3999]));
}

fn parts() -> impl Strategy<Value = Vec<PatternPart>> {
    let part = prop_oneof![
        "[a-c0-1/]{1,3}".prop_map(|t| text(t.as_bytes())),
        Just(PatternPart::Number),
        (1_u8..3).prop_map(PatternPart::Bytes),
        Just(PatternPart::Any),
    ];
    proptest::collection::vec(part, 0..5)
}

/// Whether a name matches, by trying all ways.
fn matches(parts: &[PatternPart], name: &[u8]) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        return name.is_empty();
    };
    let without_slash = name.iter().take_while(|b| **b != b'/').count();
    let after = |from: usize| (from..=without_slash).any(|n| matches(rest, &name[n..]));
    match part {
        PatternPart::Text(text) => {
            let behind = name.strip_prefix(text.bytes());
            behind.is_some_and(|behind| matches(rest, behind))
        }
        PatternPart::Number => name.first().is_some_and(u8::is_ascii_digit) && after(1),
        PatternPart::Bytes(n) => {
            let n = usize::from(*n);
            without_slash >= n && matches(rest, &name[n..])
        }
        PatternPart::Any => after(0),
    }
}

proptest! {
    #[test]
    fn no_name_becomes_syntax(name in proptest::collection::vec(1_u8.., 0..40)) {
        let written = NamePattern::exactly(&name).to_string();
        prop_assert!(written.bytes().all(|b| (b' '..=b'~').contains(&b)));
        prop_assert_eq!(read_by_the_parser(&written), Some(name));
    }

    #[test]
    fn matching_is_what_the_parts_say(parts in parts(), name in "[a-c0-1/]{0,8}") {
        let pattern = NamePattern::of(parts.clone());
        prop_assert_eq!(pattern.matches(name.as_bytes()), matches(&parts, name.as_bytes()));
    }

    #[test]
    fn a_glob_is_read_as_it_is_written(parts in parts(), name in "[a-c0-1/]{0,8}") {
        // Names here need no quotes, so the text of a pattern is a glob.
        let pattern = NamePattern::of(parts).to_string();
        let glob = pattern.trim_matches('"');
        let exactly = NamePattern::exactly(name.as_bytes());
        let parts = NamePattern::of(steps_as_parts(glob));
        prop_assert_eq!(exactly.overlaps(glob), parts.matches(name.as_bytes()));
    }
}

/// A glob of these tests as parts.
fn steps_as_parts(glob: &str) -> Vec<PatternPart> {
    let mut parts = Vec::new();
    let mut rest = glob;
    while let Some(first) = rest.chars().next() {
        let (part, length) = match first {
            '[' => (PatternPart::Number, 6),
            '*' => (PatternPart::Any, 1),
            '?' => (PatternPart::Bytes(1), 1),
            _ => (text(&rest.as_bytes()[..1]), 1),
        };
        parts.push(part);
        rest = &rest[length..];
    }
    parts
}

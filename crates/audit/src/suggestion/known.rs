//! Parts of names that are made anew each time, and are recognised by their form.

use crate::rule::pattern::{NamePattern, PatternPart};
use crate::text::OutsideText;

/// Lengths of hexadecimal digits that stand for a hash or an id: MD5 and trace ids, SHA-1, SHA-256 and
/// container ids, SHA-384, SHA-512.
const HASHES: [usize; 5] = [32, 40, 64, 96, 128];

/// A number of as many digits is a time, or was chosen by chance.
const LONG_NUMBER: usize = 8;

/// Lengths of random names: mkstemp(3), Python's tempfile, mktemp(1), and others.
const RANDOM: [usize; 4] = [6, 8, 10, 12];

/// Directories with random names.
const TEMPORARY: [&[u8]; 7] = [
    b"tmp",
    b"temp",
    b"shm",
    b"cache",
    b".cache",
    b"run",
    b"sessions",
];

/// The groups of digits in a UUID.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];

/// The groups, and the marks between them.
const UUID_RUNS: usize = 9;

/// What stands directly before the UUID of a pod in the names of its control groups.
const POD: &[u8] = b"pod";

/// The pattern of names that differ from this one only in parts of a known form. It matches the name.
pub(super) fn pattern(name: &[u8]) -> NamePattern {
    let mut parts = Vec::new();
    let mut before: Vec<&[u8]> = Vec::new();
    for component in name.split(|byte| *byte == b'/') {
        if !before.is_empty() {
            parts.push(text(b"/"));
        }
        match of_system(&before, component) {
            Some(part) => parts.push(part),
            None => {
                let is_temporary = before.iter().any(|directory| TEMPORARY.contains(directory));
                of_component(component, is_temporary, &mut parts);
            }
        }
        before.push(component);
    }
    NamePattern::of(parts)
}

fn text(bytes: &[u8]) -> PatternPart {
    PatternPart::Text(OutsideText::new(bytes))
}

/// Numbers of processes, threads, descriptors and terminals.
fn of_system(before: &[&[u8]], component: &[u8]) -> Option<PatternPart> {
    let is_number = !component.is_empty() && component.iter().all(u8::is_ascii_digit);
    match before {
        [b"", b"proc"] | [b"", b"dev", b"pts"] if is_number => Some(PatternPart::Number),
        [b"", b"proc", _, .., b"task" | b"fd" | b"fdinfo"] if is_number => {
            Some(PatternPart::Number)
        }
        // Named after addresses.
        [b"", b"proc", _, .., b"map_files"] if !component.is_empty() => Some(PatternPart::Any),
        _ => None,
    }
}

fn of_component(component: &[u8], is_temporary: bool, parts: &mut Vec<PatternPart>) {
    let runs = runs(component);
    let mut rest = &*runs;
    while let Some((run, behind)) = rest.split_first() {
        if let Some(parts_of_uuid) = uuid(rest) {
            parts.extend(parts_of_uuid);
            rest = rest.get(UUID_RUNS..).unwrap_or_default();
            continue;
        }
        of_run(run, is_temporary, parts);
        rest = behind;
    }
}

/// The letters and digits in a text, and what is between them.
fn runs(text: &[u8]) -> Vec<&[u8]> {
    text.chunk_by(|one, next| one.is_ascii_alphanumeric() == next.is_ascii_alphanumeric())
        .collect()
}

/// A UUID at the beginning of these runs, with `-` or, as systemd writes it, `_`.
fn uuid(runs: &[&[u8]]) -> Option<Vec<PatternPart>> {
    let mut parts = Vec::new();
    for (place, run) in runs.get(..UUID_RUNS)?.iter().enumerate() {
        let (group, is_mark) = (place.checked_div(2)?, !place.is_multiple_of(2));
        if is_mark {
            if !matches!(run, [b'-' | b'_']) {
                return None;
            }
            parts.push(text(run));
            continue;
        }
        let digits = match place {
            0 => run.strip_prefix(POD).filter(|rest| rest.len() == 8),
            _ => None,
        };
        if digits.is_some() {
            parts.push(text(POD));
        }
        let digits = digits.unwrap_or(run);
        if !is_hexadecimal(digits) || Some(&digits.len()) != UUID.get(group) {
            return None;
        }
        parts.push(any(digits.len()));
    }
    Some(parts)
}

fn of_run(run: &[u8], is_temporary: bool, parts: &mut Vec<PatternPart>) {
    let is_number = run.iter().all(u8::is_ascii_digit);
    if HASHES.contains(&run.len()) && is_hexadecimal(run) {
        parts.push(any(run.len()));
    } else if is_number && run.len() >= LONG_NUMBER {
        parts.push(PatternPart::Number);
    } else if is_temporary {
        let random = run.strip_prefix(b"tmp").filter(|rest| is_random(rest));
        if random.is_some() {
            parts.push(text(b"tmp"));
        }
        match random.or(Some(run).filter(|run| is_random(run))) {
            Some(random) => parts.push(any(random.len())),
            None => parts.push(text(run)),
        }
    } else {
        parts.push(text(run));
    }
}

fn any(count: usize) -> PatternPart {
    u8::try_from(count).map_or(PatternPart::Any, PatternPart::Bytes)
}

/// Hexadecimal digits of one case, with at least one digit: a word is none.
fn is_hexadecimal(run: &[u8]) -> bool {
    let has = |what: fn(&u8) -> bool| run.iter().any(what);
    run.iter().all(u8::is_ascii_hexdigit)
        && has(u8::is_ascii_digit)
        && !(has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase))
}

/// Whether letters and digits look like chance: small and capital letters and digits alternate at least
/// twice, which `sha256`, `Config` and `backup12` do not.
fn is_random(run: &[u8]) -> bool {
    let kind = |byte: &u8| (byte.is_ascii_digit(), byte.is_ascii_uppercase());
    let alternations = run.chunk_by(|one, next| kind(one) == kind(next)).count();
    RANDOM.contains(&run.len()) && alternations >= 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_with_a_form_become_patterns_and_others_stay() {
        let hash = "0a".repeat(32);
        let hashes = "?".repeat(64);
        for (name, expected) in [
            (
                "/proc/103/task/104/status",
                "/proc/[0-9]*/task/[0-9]*/status",
            ),
            ("/proc/103/fd/", "/proc/[0-9]*/fd/"),
            ("/proc/sys/103", "/proc/sys/103"),
            ("/proc/1/map_files/7f12-7f13", "/proc/[0-9]*/map_files/*"),
            ("/dev/pts/0", "/dev/pts/[0-9]*"),
            (
                "/x/3b1c7d52-0001-4a4b-8c8d-0123456789ab.json",
                "/x/????????-????-????-????-????????????.json",
            ),
            (
                "/a/kubepods-pod3b1c7d52_0001_4a4b_8c8d_0123456789ab.slice/x",
                "/a/kubepods-pod????????_????_????_????_????????????.slice/x",
            ),
            (
                &format!("/a/cri-containerd-{hash}.scope"),
                &format!("/a/cri-containerd-{hashes}.scope"),
            ),
            (&format!("/a/{hash}a"), &format!("/a/{hash}a")),
            ("/var/log/1795342738.log", "/var/log/[0-9]*.log"),
            ("/var/log/2026.log", "/var/log/2026.log"),
            ("/tmp/conf.Ab3xQ9", "/tmp/conf.??????"),
            ("/tmp/tmpk3xy7d2q/a", "/tmp/tmp????????/a"),
            ("/tmp/sha256", "/tmp/sha256"),
            ("/tmp/nginx.config", "/tmp/nginx.config"),
            ("/srv/conf.Ab3xQ9", "/srv/conf.Ab3xQ9"),
            (
                "/usr/lib/python3.11/deadbeef.py",
                "/usr/lib/python3.11/deadbeef.py",
            ),
        ] {
            let pattern = pattern(name.as_bytes());
            assert_eq!(pattern.to_string().trim_matches('"'), expected, "{name}");
            assert!(pattern.matches(name.as_bytes()), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_its_name(name in "(/(proc|tmp|pts|dev|fd|[a-f0-9]{8}(-[a-f0-9]{4}){3}-[a-f0-9]{12}|[0-9a-f]{32}|[A-Za-z0-9._-]{0,14}|[0-9]{1,12})){0,6}") {
            prop_assert!(pattern(name.as_bytes()).matches(name.as_bytes()));
        }

        #[test]
        fn any_name_has_a_pattern(name: Vec<u8>) {
            let pattern = pattern(&name);
            prop_assert!(pattern.matches(&name));
            prop_assert!(!pattern.to_string().contains(char::is_control));
        }
    }
}

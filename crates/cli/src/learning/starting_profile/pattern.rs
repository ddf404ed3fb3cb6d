//! Paths from outside in rules.

use oci_apparmor_audit::rule::pattern::NamePattern;

/// A path that is taken literally, followed by a pattern: `"/my data/**"`.
pub(super) fn below(path: &str, tail: &str) -> String {
    let literal = literal(path);
    match literal.strip_suffix('"') {
        Some(open) => format!("{open}{tail}\""),
        None => format!("{literal}{tail}"),
    }
}

/// A path that is taken literally.
pub(super) fn literal(path: &str) -> String {
    NamePattern::exactly(path.as_bytes()).to_string()
}

//! Names as AppArmor's language writes them.

/// A path that is taken literally, followed by a pattern: `/my\040data/**`.
///
/// Each byte of the path stands for itself: what would be a glob, a variable, a quote or the end of
/// the rule is escaped (apparmor.d(5), "Globbing" and "Quoting").
pub(super) fn below(path: &str, tail: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._+-:=~%".contains(&b);
    let is_plain = path.bytes().all(plain);
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'^' | b'"' => {
                text.push('\\');
                text.push(byte.into());
            }
            // Two for the quotes, and each of them again for the pattern.
            b'\\' => text.push_str("\\\\\\\\"),
            b'!'..=b'~' => text.push(byte.into()),
            _ => text.push_str(&format!("\\{byte:03o}")),
        }
    }
    match is_plain {
        true => format!("{text}{tail}"),
        false => format!("\"{text}{tail}\""),
    }
}

/// A path that is taken literally.
pub(super) fn literal(path: &str) -> String {
    below(path, "")
}

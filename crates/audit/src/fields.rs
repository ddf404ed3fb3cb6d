//! The `key=value` pairs of an event.
//!
//! The kernel writes them (`audit_pre()`, security/apparmor/audit.c). A value is in quotes, or a
//! plain word. If it has a blank, a quote or a character that cannot be printed, it is written in
//! hexadecimal digits without quotes (`audit_log_untrustedstring()`, kernel/audit.c). So a container,
//! which chooses the names of files and commands, cannot add pairs to a line.

use std::collections::BTreeMap;

/// Keys whose values a process chooses, so that the kernel may write them in hexadecimal digits.
const UNTRUSTED: [&str; 9] = [
    "comm",
    "label",
    "name",
    "namespace",
    "peer",
    "profile",
    "srcname",
    "target",
    "trans",
];

/// The pairs of an event; `None` if the text is incomplete or has other words.
pub(crate) fn parse(mut rest: &str) -> Option<BTreeMap<String, String>> {
    let mut fields = BTreeMap::new();
    // auditd appends its own translations after a group separator (ENRICHED format, auditd.conf(5)).
    let blank = |c: char| c == ' ' || c == '\n' || c == '\r' || c == '\u{1d}';
    loop {
        rest = rest.trim_start_matches(blank);
        let Some((key, value)) = rest.split_once('=') else {
            return rest.is_empty().then_some(fields);
        };
        let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if key.is_empty() || !key.chars().all(is_key) {
            return None;
        }
        let text;
        (text, rest) = match value.strip_prefix('"') {
            Some(quoted) => {
                let (text, behind) = quoted.split_once('"')?;
                (text.to_owned(), behind)
            }
            None => {
                let (word, behind) = value.split_at(value.find(blank).unwrap_or(value.len()));
                let encoded = UNTRUSTED.contains(&key).then(|| hexadecimal(word));
                let plain = || word.to_owned();
                (encoded.flatten().unwrap_or_else(plain), behind)
            }
        };
        // If a key occurs twice, the kernel wrote the first one.
        fields.entry(key.to_owned()).or_insert(text);
    }
}

/// Decodes hexadecimal digits; `None` if the text is something else.
fn hexadecimal(digits: &str) -> Option<String> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let bytes: Option<Vec<u8>> = digits
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(high)?.checked_mul(16)?.checked_add(digit(low)?)?),
            _ => None,
        })
        .collect();
    Some(String::from_utf8_lossy(&bytes?).into_owned())
}

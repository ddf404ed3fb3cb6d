//! What a YAML scalar without quotes is.
//!
//! Kubernetes reads YAML 1.1, other readers read YAML 1.2, and the two disagree on some words. A
//! word is text here only if it is text in both.

use crate::yaml::Value;

/// The value of a scalar without quotes.
pub(crate) fn plain(word: &str) -> Value {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Flag(true),
        "false" | "False" | "FALSE" => Value::Flag(false),
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "n" | "N" | "no" | "No" | "NO"
        | "off" | "Off" | "OFF" => Value::Ambiguous(word.to_owned()),
        _ if is_number(word) => Value::Number(word.to_owned()),
        _ => Value::Text(word.to_owned()),
    }
}

/// Whether YAML 1.1 or YAML 1.2 reads the word as a number.
fn is_number(word: &str) -> bool {
    let unsigned = word.trim_start_matches(['+', '-']);
    if matches!(unsigned.to_ascii_lowercase().as_str(), ".inf" | ".nan") {
        return true;
    }
    let digits: String = unsigned.chars().filter(|c| *c != '_').collect();
    let of_base = |prefix: &str, base: u32| {
        digits
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(base)))
    };
    if of_base("0x", 16) || of_base("0o", 8) || of_base("0b", 2) {
        return true;
    }
    // Rust parses the floats of YAML, and the words "inf", "infinity" and "nan" in addition.
    let float = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.parse::<f64>().is_ok();
    // YAML 1.1 has base 60: 1:30 is 90.
    let sexagesimal = digits.contains(':')
        && digits
            .split(':')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    float || sexagesimal
}

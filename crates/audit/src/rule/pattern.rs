//! Names in rules: which names a rule matches, and how the rule writes them.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use crate::text::OutsideText;

/// A part of a [`NamePattern`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PatternPart {
    /// Exactly these bytes.
    Text(OutsideText),
    /// A digit, and then any bytes but `/`: `[0-9]*`, as profiles write process ids.
    Number,
    /// As many bytes but `/`: `????`.
    Bytes(u8),
    /// Any bytes but `/`, also none: `*`.
    Any,
}

/// Which names a rule matches. It prints as a rule writes it.
///
/// A byte that AppArmor's language gives a meaning is printed with a backslash, and a byte that is not
/// printable ASCII as three octal digits, all in quotes (`processquoted()` of apparmor_parser, and
/// `convert_aaregex_to_pcre()`, which reads the result again). So no name becomes syntax, and a name
/// without wildcards matches itself and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamePattern(Vec<PatternPart>);

impl NamePattern {
    /// Matches this name only.
    #[must_use]
    pub fn exactly(name: &[u8]) -> Self {
        Self(vec![PatternPart::Text(OutsideText::new(name))])
    }

    /// A pattern of these parts.
    #[must_use]
    pub fn of(parts: Vec<PatternPart>) -> Self {
        let mut joined: Vec<PatternPart> = Vec::new();
        for part in parts {
            match (joined.last_mut(), part) {
                (Some(PatternPart::Text(before)), PatternPart::Text(text)) => {
                    *before = OutsideText::new([before.bytes(), text.bytes()].concat());
                }
                (Some(PatternPart::Number | PatternPart::Any), PatternPart::Any) => {}
                (_, part) => joined.push(part),
            }
        }
        Self(joined)
    }

    /// Its parts.
    #[must_use]
    pub fn parts(&self) -> &[PatternPart] {
        &self.0
    }

    /// The name, if there is only one.
    #[must_use]
    pub fn name(&self) -> Option<&OutsideText> {
        match &*self.0 {
            [PatternPart::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The bytes that all names begin with.
    #[must_use]
    pub fn beginning(&self) -> &[u8] {
        match self.0.first() {
            Some(PatternPart::Text(text)) => text.bytes(),
            _ => &[],
        }
    }

    /// Whether it matches a name.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        match self.name() {
            Some(text) => text.bytes() == name,
            None => name.starts_with(self.beginning()) && matches(&self.steps(), name),
        }
    }

    /// Whether there is a name that it and a pattern of AppArmor match both. The pattern may have `*`,
    /// `**`, `?` and `[0-9]`.
    pub(crate) fn overlaps(&self, glob: &str) -> bool {
        // Most patterns differ at their beginning or end.
        let end = match self.0.last() {
            Some(PatternPart::Text(text)) => text.bytes(),
            _ => &[],
        };
        let plain = |byte: &u8| !matches!(byte, b'*' | b'?' | b'[' | b']');
        let begins = glob.bytes().take_while(|byte| plain(byte));
        let ends = glob.bytes().rev().take_while(|byte| plain(byte));
        let alike = |(one, other): (u8, &u8)| one == *other;
        begins.zip(self.beginning()).all(alike)
            && ends.zip(end.iter().rev()).all(alike)
            && overlap(&self.steps(), &steps_of_glob(glob.as_bytes()))
    }

    fn steps(&self) -> Vec<GlobStep> {
        let mut steps = Vec::new();
        for part in &self.0 {
            match part {
                PatternPart::Text(text) => {
                    steps.extend(text.bytes().iter().copied().map(GlobStep::Byte));
                }
                PatternPart::Number => steps.extend([GlobStep::Digit, GlobStep::Many(false)]),
                PatternPart::Bytes(count) => {
                    steps.extend((0..*count).map(|_| GlobStep::NoSlash));
                }
                PatternPart::Any => steps.push(GlobStep::Many(false)),
            }
        }
        steps
    }
}

/// One byte of a name, or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GlobStep {
    Byte(u8),
    Digit,
    NoSlash,
    /// Any number of bytes, of which each may be a slash or not.
    Many(bool),
}

impl GlobStep {
    fn is_many(self) -> bool {
        matches!(self, Self::Many(_))
    }

    /// Whether there is a byte that both are.
    fn meets(self, other: Self) -> bool {
        let takes = |step: Self, byte: u8| match step {
            Self::Byte(own) => own == byte,
            Self::Digit => byte.is_ascii_digit(),
            Self::NoSlash | Self::Many(false) => byte != b'/',
            Self::Many(true) => true,
        };
        match (self, other) {
            (Self::Byte(byte), step) | (step, Self::Byte(byte)) => takes(step, byte),
            // All others have the digits in common.
            _ => true,
        }
    }
}

fn steps_of_glob(mut glob: &[u8]) -> Vec<GlobStep> {
    let mut steps = Vec::new();
    loop {
        let (step, rest) = match glob {
            [] => return steps,
            [b'*', b'*', rest @ ..] => (GlobStep::Many(true), rest),
            [b'*', rest @ ..] => (GlobStep::Many(false), rest),
            [b'?', rest @ ..] => (GlobStep::NoSlash, rest),
            [b'[', b'0', b'-', b'9', b']', rest @ ..] => (GlobStep::Digit, rest),
            [byte, rest @ ..] => (GlobStep::Byte(*byte), rest),
        };
        steps.push(step);
        glob = rest;
    }
}

/// Whether a name takes all steps. What is between two `*` may as well be the first that fits: neither
/// takes a slash, so no later place leads further.
fn matches(mut steps: &[GlobStep], mut name: &[u8]) -> bool {
    // What follows the last `*`, and the part of the name that it did not take.
    let mut star: Option<(&[GlobStep], &[u8])> = None;
    loop {
        match (steps.split_first(), name.split_first()) {
            (Some((step, behind)), _) if step.is_many() => {
                star = Some((behind, name));
                steps = behind;
            }
            (Some((step, behind)), Some((byte, rest))) if step.meets(GlobStep::Byte(*byte)) => {
                (steps, name) = (behind, rest);
            }
            (None, None) => return true,
            _ => {
                // It takes one byte more.
                let more = star.and_then(|(behind, name)| Some((behind, name.split_first()?)));
                let Some((behind, (_, rest))) = more.filter(|(_, (byte, _))| **byte != b'/') else {
                    return false;
                };
                star = Some((behind, rest));
                (steps, name) = (behind, rest);
            }
        }
    }
}

/// Whether some name takes all steps of both. All pairs of places that a common beginning leads to are
/// visited once.
fn overlap(one: &[GlobStep], other: &[GlobStep]) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![(one, other)];
    while let Some((one, other)) = open.pop() {
        if !seen.insert((one.len(), other.len())) {
            continue;
        }
        let (Some((first, rest)), Some((second, behind))) =
            (one.split_first(), other.split_first())
        else {
            // What is left must be able to match nothing.
            if one.iter().chain(other).all(|step| step.is_many()) {
                return true;
            }
            continue;
        };
        if first.is_many() {
            open.push((rest, other));
        }
        if second.is_many() {
            open.push((one, behind));
        }
        if first.meets(*second) {
            let stay = |many: bool, here, next| if many { here } else { next };
            open.push((
                stay(first.is_many(), one, rest),
                stay(second.is_many(), other, behind),
            ));
        }
    }
    false
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |part: &PatternPart| match part {
            PatternPart::Text(text) => text.bytes().iter().copied().all(is_plain),
            _ => true,
        };
        // A word without quotes must not be empty, and must not begin with a wildcard.
        let quoted = !self.0.iter().all(is_plain)
            || !matches!(self.0.first(), Some(PatternPart::Text(text)) if !text.bytes().is_empty());
        if quoted {
            f.write_char('"')?;
        }
        for part in &self.0 {
            match part {
                PatternPart::Text(text) => escape(f, text.bytes())?,
                PatternPart::Number => f.write_str("[0-9]*")?,
                PatternPart::Bytes(count) => {
                    (0..*count).try_for_each(|_| f.write_char('?'))?;
                }
                PatternPart::Any => f.write_char('*')?,
            }
        }
        if quoted {
            f.write_char('"')?;
        }
        Ok(())
    }
}

/// Bytes that need no quotes in any place where a rule has a name.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-')
}

fn escape(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for byte in bytes {
        match byte {
            b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'^' => {
                write!(f, "\\{}", char::from(*byte))?;
            }
            // A comma separates names in some rules. A quote or a backslash could end the quotes.
            b',' | b'"' | b'\\' => write!(f, "\\{byte:03o}")?,
            b' '..=b'~' => f.write_char(char::from(*byte))?,
            _ => write!(f, "\\{byte:03o}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! Text from outside: bytes that a process chose, for example the name of a file.

use std::fmt::{self, Write};

/// Bytes from outside. They are kept as they are; they need not be UTF-8.
///
/// It prints as one unambiguous line: a backslash as `\\`, and what is not printable, or not UTF-8,
/// as `\xHH` for each byte. So two different names never look alike, and no name controls a terminal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct OutsideText(Box<[u8]>);

impl OutsideText {
    /// Text of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is UTF-8. It may have control characters.
    #[must_use]
    pub fn utf8(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// What hexadecimal digits stand for; `None` if the text is something else.
    pub(crate) fn from_hexadecimal(digits: &[u8]) -> Option<Self> {
        if digits.is_empty() || !digits.len().is_multiple_of(2) {
            return None;
        }
        let digit = |byte: u8| {
            let value = char::from(byte).to_digit(16)?;
            u8::try_from(value).ok()
        };
        let pairs = digits.chunks_exact(2).map(|pair| match *pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        });
        pairs.collect::<Option<Box<[u8]>>>().map(Self)
    }
}

impl fmt::Display for OutsideText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
        if let Some(text) = self.utf8().filter(|_| self.0.iter().all(is_plain)) {
            return f.write_str(text);
        }
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    c if is_printable(c) => f.write_char(c)?,
                    c => {
                        let mut bytes = [0; 4];
                        c.encode_utf8(&mut bytes)
                            .bytes()
                            .try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
                    }
                }
            }
            let rest = chunk.invalid().iter();
            rest.copied()
                .try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for OutsideText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl PartialEq<str> for OutsideText {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other.as_bytes()
    }
}

/// Whether a character shows as itself: not a control character, no line or paragraph separator, and
/// none that is invisible or changes the direction of what follows.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prints_on_one_line_and_unambiguously() {
        for (bytes, shown) in [
            (&b"/etc/a b"[..], "/etc/a b"),
            ("/\u{e9}".as_bytes(), "/\u{e9}"),
            (b"/\xe9", r"/\xe9"),
            (br"/\xe9", r"/\\xe9"),
            (b"a\nb\x1b[2J", r"a\x0ab\x1b[2J"),
            ("\u{202e}x".as_bytes(), r"\xe2\x80\xaex"),
        ] {
            assert_eq!(OutsideText::new(bytes).to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn different_bytes_look_different(a: Vec<u8>, b: Vec<u8>) {
            let shown = |bytes: &Vec<u8>| OutsideText::new(bytes.clone()).to_string();
            prop_assert_eq!(shown(&a) == shown(&b), a == b);
        }

        #[test]
        fn hexadecimal_digits_are_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 1..40)) {
            let digits: String = bytes.iter().map(|b| format!("{b:02X}")).collect();
            let text = OutsideText::from_hexadecimal(digits.as_bytes());
            prop_assert_eq!(text, Some(OutsideText::new(bytes)));
        }
    }
}

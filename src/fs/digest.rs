//! Digests as text.

use sha2::{Digest, Sha256};

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        for digit in [byte >> 4, byte & 0xf] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    text
}

/// The first half of the SHA-256 of a text, in hexadecimal: a file name for any text.
#[must_use]
pub fn short(text: impl AsRef<[u8]>) -> String {
    let hash: [u8; 32] = Sha256::digest(text.as_ref()).into();
    hex(hash.get(..16).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_lower_case_hexadecimal() {
        assert_eq!(hex(&[0, 1, 0xab, 0xff]), "0001abff");
        // printf '' | sha256sum
        assert_eq!(short(""), "e3b0c44298fc1c149afbf4c8996fb924");
    }
}

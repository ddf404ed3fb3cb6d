//! The name of a policy in the cache: a digest of everything that it was compiled from.

use sha2::{Digest, Sha256};

use crate::fs::digest::hex;

/// The format of cache entries; part of every key.
pub(super) const FORMAT: &[u8] = b"oci-apparmor policy 1\n";

/// The key of a cache entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CacheKey(pub(super) [u8; 32]);

impl CacheKey {
    /// The key of the policy that a toolchain compiles from some content.
    pub(super) fn of(content: &[u8; 32], toolchain: &[u8; 32], complain: bool) -> Self {
        let mut digest = Sha256::new_with_prefix(FORMAT);
        digest.update(content);
        digest.update(toolchain);
        digest.update([u8::from(complain)]);
        Self(digest.finalize().into())
    }

    /// The key with this file name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let start = index.checked_mul(2)?;
            let digits = name.get(start..start.checked_add(2)?)?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(Self(bytes)).filter(|key| key.file_name() == name)
    }

    /// The name of its file.
    pub(super) fn file_name(&self) -> String {
        hex(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_file_name() {
        let key = CacheKey::of(&[1; 32], &[0; 32], false);
        assert_eq!(CacheKey::parse(&key.file_name()), Some(key.clone()));
        for bad in [
            "",
            "00",
            &"+0".repeat(32),
            &"AB".repeat(32),
            &"00".repeat(33),
        ] {
            assert_eq!(CacheKey::parse(bad), None, "{bad}");
        }
        assert_ne!(CacheKey::of(&[1; 32], &[0; 32], true), key);
        assert_ne!(CacheKey::of(&[1; 32], &[1; 32], false), key);
    }
}

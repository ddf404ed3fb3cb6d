//! How a blob begins: plain or compressed, with or without the header of AppArmor 5.

/// Plain policy always starts with the name `version` and a 32-bit value.
const MAGIC: &[u8] = b"\x04\x08\x00version\0\x02";

/// The size of the header that AppArmor 5 writes before policy that it may have compressed
/// (`compr_user_header`, libapparmor/src/apparmor_private.h): a version, a level, and padding.
/// libapparmor removes it; the kernel does not know it.
const HEADER: usize = 8;
const HEADER_VERSION: u8 = 1;

/// The start of a zstd frame (RFC 8878, 3.1.1).
pub(super) const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// Plain policy, without the header if it has one. `None` if `blob` is compressed, or not policy.
#[must_use]
pub fn plain(blob: &[u8]) -> Option<&[u8]> {
    [Some(blob), without_header(blob)]
        .into_iter()
        .flatten()
        .find(|policy| policy.starts_with(MAGIC))
}

/// Whether `blob` is compressed policy.
#[must_use]
pub fn compressed(blob: &[u8]) -> bool {
    blob.starts_with(ZSTD) || without_header(blob).is_some_and(|b| b.starts_with(ZSTD))
}

fn without_header(blob: &[u8]) -> Option<&[u8]> {
    let (header, rest) = blob.split_at_checked(HEADER)?;
    (header.first() == Some(&HEADER_VERSION)).then_some(rest)
}

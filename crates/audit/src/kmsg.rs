//! Records of `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg).

use crate::text::OutsideText;

/// The text of a record that the kernel wrote, without its prefix, its properties and its escapes.
/// `None` if it is not a record, or if a program wrote it: anyone who may write to `/dev/kmsg` can,
/// but not in the name of the kernel (`devkmsg_write()`, kernel/printk/printk.c).
#[must_use]
pub fn kernel_text(record: &[u8]) -> Option<OutsideText> {
    // Lines of other logs are told apart by their first byte, mostly.
    record.first().filter(|byte| byte.is_ascii_digit())?;
    // Properties follow on lines of their own.
    let line = record.split(|byte| *byte == b'\n').next()?;
    let semicolon = line.iter().position(|byte| *byte == b';')?;
    let (prefix, text) = line.split_at_checked(semicolon)?;
    let priority = prefix.split(|byte| *byte == b',').next()?;
    let priority: u32 = std::str::from_utf8(priority).ok()?.parse().ok()?;
    // The facility is above the three bits of the level; the kernel's is 0.
    let numbers = prefix.iter().filter(|byte| **byte == b',').count();
    (priority >> 3 == 0 && numbers >= 3).then(|| unescaped(text.get(1..).unwrap_or_default()))
}

/// Undoes the escapes: the kernel writes `\xHH` for a backslash and for each byte that is not
/// printable ASCII (`msg_add_ext_text()`, kernel/printk/printk.c).
fn unescaped(mut text: &[u8]) -> OutsideText {
    let mut plain = Vec::with_capacity(text.len());
    while let Some((first, rest)) = text.split_first() {
        let escaped = match text {
            [b'\\', b'x', high, low, behind @ ..] => {
                OutsideText::from_hexadecimal(&[*high, *low]).map(|byte| (byte, behind))
            }
            _ => None,
        };
        match escaped {
            Some((byte, behind)) => {
                plain.extend_from_slice(byte.bytes());
                text = behind;
            }
            None => {
                plain.push(*first);
                text = rest;
            }
        }
    }
    OutsideText::new(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_kernel_wrote_without_escapes() {
        for (record, text) in [
            (
                &b"5,339,5140900,-;audit: type=1400\n SUBSYSTEM=x\n"[..],
                Some(&b"audit: type=1400"[..]),
            ),
            (br"5,1,2,-;/a\x5cb\x0ac\x5cx41", Some(b"/a\\b\nc\\x41")),
            (br"5,1,2,-;\xzz\x4", Some(br"\xzz\x4")),
            (b"13,1,2,-;audit: type=1400", None),
            (b"5,1,2,-", None),
            (b"", None),
        ] {
            let read = kernel_text(record);
            assert_eq!(read.as_ref().map(OutsideText::bytes), text, "{record:?}");
        }
    }
}

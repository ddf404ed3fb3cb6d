//! The `key=value` pairs of a record, split but not decoded.
//!
//! The kernel writes them (`audit_pre()`, security/apparmor/audit.c, and the callbacks of each
//! class). A value is in quotes, or a plain word. A text that a process chooses is written in
//! hexadecimal digits without quotes if it has a blank, a quote, or a byte that is not printable
//! ASCII (`audit_log_n_untrustedstring()`, kernel/audit.c). So no text adds a pair to a line. It stays
//! so because values are decoded only after the line is split.

use crate::unread::Unread;

/// A value as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written<'l> {
    /// Between quotes.
    Quoted(&'l [u8]),
    /// A word without quotes.
    Bare(&'l [u8]),
}

/// auditd appends its own translations of numbers behind this byte (`log_format = ENRICHED`,
/// auditd.conf(5)).
const TRANSLATIONS: u8 = 0x1d;

/// The rest of a record.
pub(crate) struct PairReader<'l> {
    rest: &'l [u8],
}

impl<'l> PairReader<'l> {
    pub(crate) fn new(rest: &'l [u8]) -> Self {
        Self { rest }
    }

    /// The next key and its value; `None` at the end of what the kernel wrote.
    pub(crate) fn next_pair(&mut self) -> Result<Option<(&'l [u8], Written<'l>)>, Unread> {
        let text = self.rest.trim_ascii_start();
        if text.first().is_none_or(|byte| *byte == TRANSLATIONS) {
            self.rest = &[];
            return Ok(None);
        }
        let is_key = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let (key, value) = split_at(text, |byte| !is_key(byte)).ok_or(Unread::Malformed)?;
        let (b'=', value) = value.split_first().ok_or(Unread::Malformed)? else {
            return Err(Unread::Malformed);
        };
        if key.is_empty() {
            return Err(Unread::Malformed);
        }
        let written = match value.split_first() {
            Some((b'"', quoted)) => {
                // Some callbacks write no blank behind a closing quote: `denied_mask="send"signal=…`
                // (`audit_signal_cb()`, security/apparmor/ipc.c), `class="posix_mqueue"`.
                let (text, behind) = split_at(quoted, |byte| *byte == b'"')
                    .filter(|(_, behind)| !behind.is_empty())
                    .ok_or(Unread::Malformed)?;
                self.rest = behind.get(1..).unwrap_or_default();
                Written::Quoted(text)
            }
            _ => {
                let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == TRANSLATIONS;
                let (word, behind) = split_at(value, ends).unwrap_or((value, &[]));
                self.rest = behind;
                Written::Bare(word)
            }
        };
        Ok(Some((key, written)))
    }
}

/// The text before and from the first byte that is meant; all of it and nothing if there is none.
fn split_at(text: &[u8], meant: impl Fn(&u8) -> bool) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(meant).unwrap_or(text.len());
    text.split_at_checked(at)
}

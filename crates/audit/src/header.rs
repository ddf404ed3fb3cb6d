//! What stands before the pairs of a record: the prefix of the log, the type, the time.
//!
//! A line is accepted only if the record begins where the log's writer begins one. The same text
//! later in a line is part of a message of another program, and can be written by anyone.

use std::fmt;

use crate::unread::Unread;

/// When a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Seconds since 1970.
    pub seconds: u64,
    /// Milliseconds of this second.
    pub milliseconds: u16,
    /// The kernel's number of the event. Records of one system call share it.
    pub serial: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seconds,
            milliseconds,
            serial,
        } = self;
        write!(f, "{seconds}.{milliseconds:03}:{serial}")
    }
}

/// The pairs of a record, and what the line says about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RecordText<'l> {
    pub(crate) stamp: Option<Stamp>,
    /// Whether a program wrote it, not the kernel: a D-Bus daemon.
    pub(crate) from_program: bool,
    pub(crate) pairs: &'l [u8],
}

/// The first pair of each record.
const FIRST: &[u8] = b"apparmor=\"";

/// The types of records: `AUDIT_AVC` and `AUDIT_USER_AVC` (include/uapi/linux/audit.h).
const KERNEL: [&[u8]; 2] = [b"AVC", b"1400"];
const PROGRAM: [&[u8]; 2] = [b"USER_AVC", b"1107"];

/// The lengths at which kernels cut a text that is too long for printk(): 1024 bytes less a prefix of
/// up to 48 (`LOG_LINE_MAX` and `PRINTKRB_RECORD_MAX`, kernel/printk), and less `audit: `.
const PRINTED_CUT: std::ops::RangeInclusive<usize> = 960..=1024;

/// Finds the record of AppArmor in a line.
pub(crate) fn read(line: &[u8]) -> Result<RecordText<'_>, Unread> {
    let found = locate(line);
    match found {
        // Something else is allowed to quote a record, but then it is worth a count.
        Err(Unread::Other) if mentions(line) => Err(Unread::Malformed),
        found => found,
    }
}

/// The record in a netlink message, whose header has the type.
pub(crate) fn read_netlink(kind: u16, text: &[u8]) -> Result<RecordText<'_>, Unread> {
    let (time, rest) = until(text, b": ").ok_or(Unread::Other)?;
    let kind: &[u8] = match kind {
        1400 => b"AVC",
        1107 => b"USER_AVC",
        _ => return Err(Unread::Other),
    };
    record(kind, Some(stamp(time)?), rest)
}

fn locate(line: &[u8]) -> Result<RecordText<'_>, Unread> {
    // The first `: ` ends the time of a record, or the prefix of a log. No time of a log has it.
    let colon = line.windows(2).position(|two| two == b": ");
    let colon = colon.ok_or(Unread::Other)?;
    let (head, rest) = line.split_at_checked(colon).ok_or(Unread::Other)?;
    let rest = rest.get(2..).unwrap_or_default();
    let tag = last_word(head);
    // auditd: `type=AVC msg=audit(1795342738.894:7): …`, perhaps with `node=NAME` before it.
    if let Some(time) = tag.strip_prefix(b"msg=") {
        let before = head.strip_suffix(tag).unwrap_or_default();
        let kind = last_word(before.trim_ascii_end());
        let kind = kind.strip_prefix(b"type=").ok_or(Unread::Other)?;
        return record(kind, Some(stamp(time)?), rest);
    }
    // `audit(1795342738.894:7): …`, as netlink delivers it. Without its type, it can only be the
    // kernel's: what a program sends begins with `pid=`.
    if tag.starts_with(b"audit(") && tag == head {
        return record(b"AVC", Some(stamp(tag)?), rest);
    }
    // The kernel's log, by itself or behind the prefix of a system log: `kernel: [ 12.3] audit: …`.
    if matches!(tag, b"kernel" | b"kern.notice" | b":notice") || tag.ends_with(b">kernel") {
        let rest = match rest.strip_prefix(b"[") {
            Some(time) => {
                let end = time.windows(2).position(|two| two == b"] ");
                let end = end
                    .and_then(|end| end.checked_add(2))
                    .ok_or(Unread::Other)?;
                time.get(end..).unwrap_or_default()
            }
            None => rest,
        };
        return match rest.strip_prefix(b"audit: ") {
            Some(rest) => printed(rest),
            // Old kernels do not print `audit: `.
            None if rest.starts_with(b"type=") => printed(rest),
            None => journal(rest),
        };
    }
    // `[ 12.3] audit: …`, `<5>audit: …`.
    let ends = |byte: &u8| matches!(byte, b'>' | b']');
    let name = tag.rsplit(ends).next().unwrap_or_default();
    if name == b"audit" {
        let printed = printed(rest);
        return match printed {
            Err(Unread::Other) => journal(rest),
            printed => printed,
        };
    }
    // auditd's plugin for the system log.
    if let Some(rest) = rest.strip_prefix(b"type=") {
        let plugin = [&b"audisp-syslog"[..], b"audispd", b"auditd"];
        if !plugin.iter().any(|name| tag.starts_with(name)) {
            return Err(Unread::Other);
        }
        let (kind, rest) = until(rest, b" msg=").ok_or(Unread::Other)?;
        let (time, rest) = until(rest, b": ").ok_or(Unread::Other)?;
        return record(kind, Some(stamp(time)?), rest);
    }
    // A D-Bus daemon without an audit socket writes to the system log.
    if tag.starts_with(b"dbus") && rest.starts_with(FIRST) {
        return Ok(RecordText {
            stamp: None,
            from_program: true,
            pairs: rest,
        });
    }
    journal(rest)
}

/// `type=1400 audit(1795342738.894:7): …`, as `kauditd_printk_skb()` (kernel/audit.c) prints it.
fn printed(text: &[u8]) -> Result<RecordText<'_>, Unread> {
    let rest = text.strip_prefix(b"type=").ok_or(Unread::Other)?;
    let (kind, rest) = until(rest, b" ").ok_or(Unread::Other)?;
    let (time, rest) = until(rest, b": ").ok_or(Unread::Other)?;
    let found = record(kind, Some(stamp(time)?), rest)?;
    // A text that is cut within hexadecimal digits or a number would be read as another value.
    match PRINTED_CUT.contains(&text.len()) && !found.pairs.trim_ascii_end().ends_with(b"\"") {
        true => Err(Unread::Malformed),
        false => Ok(found),
    }
}

/// `AVC apparmor=…`, as journald writes the kernel's records. It leaves out the time.
pub(crate) fn journal(text: &[u8]) -> Result<RecordText<'_>, Unread> {
    let (kind, rest) = until(text, b" ").ok_or(Unread::Other)?;
    record(kind, None, rest)
}

/// The record of a type.
fn record<'l>(kind: &[u8], stamp: Option<Stamp>, text: &'l [u8]) -> Result<RecordText<'l>, Unread> {
    if KERNEL.contains(&kind) {
        return match text {
            _ if text.starts_with(FIRST) => Ok(RecordText {
                stamp,
                from_program: false,
                pairs: text,
            }),
            // The parameter `audit_header` of AppArmor can be off. SELinux writes `avc:`.
            _ if text.trim_ascii_start().starts_with(b"operation=\"") => {
                Err(Unread::UnknownVerdict)
            }
            _ => Err(Unread::Other),
        };
    }
    if !PROGRAM.contains(&kind) {
        // Any program with CAP_AUDIT_WRITE chooses the text of other types.
        return Err(Unread::Other);
    }
    // `pid=613 uid=100 auid=… ses=… subj=… msg='apparmor="DENIED" …'`
    // (`audit_log_common_recv_msg()`, kernel/audit.c). The first `msg='` is the kernel's: the label in
    // `subj=` has neither blanks nor quotes unless it is in hexadecimal digits.
    let (_, inner) = until(text, b" msg='").ok_or(Unread::Other)?;
    let end = inner.iter().rposition(|byte| *byte == b'\'');
    let inner = end.and_then(|end| inner.get(..end)).unwrap_or(inner);
    match inner.starts_with(FIRST) {
        true => Ok(RecordText {
            stamp,
            from_program: true,
            pairs: inner,
        }),
        false => Err(Unread::Other),
    }
}

/// `audit(1795342738.894:7)`.
fn stamp(text: &[u8]) -> Result<Stamp, Unread> {
    let read = || {
        let text = std::str::from_utf8(text).ok()?;
        let text = text.strip_prefix("audit(")?.strip_suffix(')')?;
        let (time, serial) = text.split_once(':')?;
        let (seconds, milliseconds) = time.split_once('.')?;
        let plain = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        [seconds, milliseconds, serial]
            .iter()
            .all(plain)
            .then_some(())?;
        Some(Stamp {
            seconds: seconds.parse().ok()?,
            milliseconds: (milliseconds.len() == 3).then(|| milliseconds.parse().ok())??,
            serial: serial.parse().ok()?,
        })
    };
    read().ok_or(Unread::Other)
}

fn last_word(text: &[u8]) -> &[u8] {
    text.rsplit(|byte| *byte == b' ').next().unwrap_or_default()
}

/// The text before and behind a mark.
fn until<'l>(text: &'l [u8], mark: &[u8]) -> Option<(&'l [u8], &'l [u8])> {
    let at = text.windows(mark.len()).position(|part| part == mark)?;
    Some((text.get(..at)?, text.get(at.checked_add(mark.len())?..)?))
}

/// Whether the line has the first pair of a record anywhere.
pub(crate) fn mentions(line: &[u8]) -> bool {
    let mut before = line;
    while let Some(at) = before.iter().rposition(|byte| *byte == b'"') {
        before = before.get(..at).unwrap_or_default();
        if before.ends_with(b"apparmor=") {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests;

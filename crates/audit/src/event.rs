//! One event in a line of a log: of the kernel (`dmesg`, `journalctl -k`), of auditd (`audit.log`), of
//! a system log, or of netlink.

use std::fmt::Write;

use crate::class::EventClass;
use crate::fields::{EventFields, SocketAddress};
use crate::header::{self, RecordText, Stamp};
use crate::kmsg;
use crate::text::OutsideText;
use crate::unread::Unread;
use crate::verdict::Verdict;

/// The longest line that is read, in bytes. Records of the kernel have at most 8970 bytes
/// (`MAX_AUDIT_MESSAGE_LENGTH`, include/linux/audit.h).
pub const LONGEST_LINE: usize = 16 << 10;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What AppArmor did.
    pub verdict: Verdict,
    /// When. `None` in lines that journald writes about audit records.
    pub stamp: Option<Stamp>,
    /// Whether a D-Bus daemon reports it, and not the kernel. Every program with CAP_AUDIT_WRITE can
    /// write such a record, and claim anything in it.
    pub from_program: bool,
    /// Everything that the record says.
    pub fields: EventFields,
}

impl Event {
    /// Reads a line of a log, or a record of `/dev/kmsg`.
    ///
    /// # Errors
    ///
    /// Why the line has no event.
    pub fn parse(line: &[u8]) -> Result<Self, Unread> {
        if line.len() > LONGEST_LINE {
            return Err(match header::mentions(line) {
                true => Unread::Malformed,
                false => Unread::Other,
            });
        }
        match kmsg::kernel_text(line) {
            Some(text) => Self::of_record(&header::read(text.bytes())?),
            None => Self::of_record(&header::read(line)?),
        }
    }

    /// Reads the text of a netlink message of this type (`nlmsg_type`).
    ///
    /// # Errors
    ///
    /// Why the message has no event.
    pub fn parse_netlink(kind: u16, text: &[u8]) -> Result<Self, Unread> {
        Self::of_record(&header::read_netlink(kind, text)?)
    }

    /// Reads the field `MESSAGE` of a record that journald received from the audit socket
    /// (`_TRANSPORT=audit`); other records of journald are lines of a log. The stamp is `None`:
    /// journald has it in `_SOURCE_REALTIME_TIMESTAMP` and `_AUDIT_ID`.
    ///
    /// # Errors
    ///
    /// Why the message has no event.
    pub fn parse_journal(message: &[u8]) -> Result<Self, Unread> {
        Self::of_record(&header::journal(message)?)
    }

    fn of_record(record: &RecordText<'_>) -> Result<Self, Unread> {
        let (verdict, fields) = EventFields::read(record.pairs)?;
        let verdict = Verdict::of(verdict).ok_or(Unread::UnknownVerdict)?;
        let has_profile = fields.profile.is_some() || fields.label.is_some();
        let operation = fields.operation.as_ref();
        let complete = match record.from_program {
            // A program may not claim what only the kernel reports.
            true => has_profile && operation.is_some_and(|text| text.bytes().starts_with(b"dbus")),
            // Policy that cannot be unpacked is reported without an operation (`audit_iface()`), and
            // messages about AppArmor itself without a profile (`aa_info_message()`, lib.c).
            false => {
                fields.pid.is_some() && (!verdict.is_access() || has_profile && operation.is_some())
            }
        };
        match complete {
            true => Ok(Self {
                verdict,
                stamp: record.stamp,
                from_program: record.from_program,
                fields,
            }),
            false => Err(Unread::Malformed),
        }
    }

    /// What kind of rule it is about.
    #[must_use]
    pub fn class(&self) -> EventClass {
        EventClass::of(&self.fields)
    }

    /// The profile whose rule decided. In a stack, that is the profile that refused. Each event about
    /// an access has one.
    #[must_use]
    pub fn profile(&self) -> Option<&OutsideText> {
        self.fields.profile.as_ref().or(self.fields.label.as_ref())
    }

    /// The permissions that the profile does not grant: `r`, `wc`, `send`.
    #[must_use]
    pub fn denied(&self) -> Option<&OutsideText> {
        let fields = &self.fields;
        let mask = fields.denied_mask.as_ref().or(fields.denied.as_ref());
        // D-Bus daemons write only one mask.
        mask.or(fields.mask.as_ref())
    }

    /// The object of the operation, for people: a path, a capability, a type of socket, another
    /// process. Two objects never look alike.
    #[must_use]
    pub fn object(&self) -> String {
        let f = &self.fields;
        let mut words = ObjectWords::default();
        if let Some(capability) = &f.capname {
            words.text("", Some(capability));
        } else if let Some(family) = &f.family {
            words.text("", Some(family));
            words.text("sock_type", f.sock_type.as_ref());
            words.address("addr", f.addr.as_ref());
            words.address("peer_addr", f.peer_addr.as_ref());
            words.text("laddr", f.laddr.as_ref());
            words.number("lport", f.lport);
            words.text("faddr", f.faddr.as_ref());
            words.number("fport", f.fport);
            words.text("peer", f.peer.as_ref());
        } else if let Some(signal) = &f.signal {
            words.text("", Some(signal));
            words.text("peer", f.peer.as_ref());
        } else if let Some(limit) = &f.rlimit {
            words.text("", Some(limit));
            words.number("value", f.value);
        } else if let Some(bus) = &f.bus {
            words.text("", Some(bus));
            words.text("path", f.path.as_ref());
            words.text("interface", f.interface.as_ref());
            words.text("member", f.member.as_ref());
            words.text("name", f.name.as_ref());
            words.text("peer_label", f.peer_label.as_ref());
        } else {
            words.text("", f.name.as_ref());
            words.text("target", f.target.as_ref());
            words.text("peer", f.peer.as_ref());
            words.text("tcontext", f.tcontext.as_ref());
            words.text("srcname", f.srcname.as_ref());
            words.text("fstype", f.fstype.as_ref());
            words.text("flags", f.flags.as_ref());
        }
        words.line
    }
}

/// The words of an object.
#[derive(Default)]
struct ObjectWords {
    line: String,
}

impl ObjectWords {
    fn key(&mut self, key: &str) {
        if !self.line.is_empty() {
            self.line.push(' ');
        }
        if !key.is_empty() {
            self.line.push_str(key);
            self.line.push('=');
        }
    }

    fn text(&mut self, key: &str, text: Option<&OutsideText>) {
        let Some(text) = text else { return };
        self.key(key);
        let bytes = text.bytes();
        // A name must not look like one of the words behind it.
        if bytes.contains(&b' ') && bytes.contains(&b'=') {
            self.line.push_str(&text.to_string().replace(' ', "\\x20"));
        } else {
            // Writing into a string does not fail.
            let _ = write!(self.line, "{text}");
        }
    }

    fn number(&mut self, key: &str, number: Option<impl Into<u64>>) {
        if let Some(number) = number {
            self.key(key);
            let _ = write!(self.line, "{}", number.into());
        }
    }

    fn address(&mut self, key: &str, address: Option<&SocketAddress>) {
        match address {
            None => {}
            Some(SocketAddress::Unnamed) => {
                self.key(key);
                self.line.push_str("none");
            }
            Some(SocketAddress::Path(path)) => self.text(key, Some(path)),
            Some(SocketAddress::Abstract(name)) => {
                self.key(key);
                let _ = write!(self.line, "@{name}");
            }
        }
    }
}

#[cfg(test)]
mod tests;

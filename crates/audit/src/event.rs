//! One event in a line of a log: of the kernel (`dmesg`, `journalctl -k`), of auditd (`audit.log`), or
//! of journald, which writes audit events as well.

use std::collections::BTreeMap;

use crate::fields;
use crate::verdict::Verdict;

/// The first pair of each event.
const START: &str = "apparmor=\"";

/// The longest line that is read, in bytes. Records of the kernel have at most 8970 bytes
/// (`MAX_AUDIT_MESSAGE_LENGTH`, include/linux/audit.h).
const MAX_LINE: usize = 16 << 10;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What AppArmor did.
    pub verdict: Verdict,
    /// The time in seconds since 1970, and the serial number of the event: `1795342738.894:7`.
    /// `None` in lines that journald writes about audit events.
    pub timestamp: Option<String>,
    fields: BTreeMap<String, String>,
}

impl Event {
    /// Reads a line; `None` if it has no event of AppArmor.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        if line.len() > MAX_LINE {
            return None;
        }
        let (before, pairs) = line.split_at(line.find(START)?);
        let timestamp = match before.strip_suffix("): ") {
            Some(before) => {
                let (_, timestamp) = before.rsplit_once("audit(")?;
                let is_timestamp = |c: char| c.is_ascii_digit() || ".:".contains(c);
                Some(timestamp).filter(|s| s.chars().all(is_timestamp))?
            }
            // Anything else may be a message of another program.
            None if before.ends_with("AVC ") => "",
            None => return None,
        };
        let fields = fields::parse(pairs)?;
        let event = Self {
            verdict: Verdict::of(fields.get("apparmor")?),
            timestamp: (!timestamp.is_empty()).then(|| timestamp.to_owned()),
            fields,
        };
        (event.profile().is_some() && event.field("operation").is_some()).then_some(event)
    }

    /// The value of a key, decoded.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<&str> {
        self.fields.get(key).map(String::as_str)
    }

    /// The profile whose rule decided. In a stack, that is the profile that refused.
    #[must_use]
    pub fn profile(&self) -> Option<&str> {
        self.field("profile").or(self.field("label"))
    }

    /// The operation: `open`, `capable`, `mount`.
    #[must_use]
    pub fn operation(&self) -> &str {
        self.field("operation").unwrap_or_default()
    }

    /// The object of the operation: a path, a capability, a type of socket, another process.
    #[must_use]
    pub fn object(&self) -> String {
        let all: &[&str] = if self.field("capname").is_some() {
            &["capname"]
        } else if self.field("family").is_some() {
            &["family", "sock_type", "addr", "peer"]
        } else if self.field("signal").is_some() {
            &["signal", "peer"]
        } else {
            &["name", "target", "peer", "srcname", "fstype", "flags"]
        };
        let words = all.iter().filter_map(|key| {
            let value = self.field(key)?;
            // The first is the object itself; the others are details.
            Some(match Some(key) == all.first() {
                true => value.to_owned(),
                false => format!("{key}={value}"),
            })
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// The permissions that the profile does not grant: `r`, `wc`, `send`.
    #[must_use]
    pub fn denied(&self) -> &str {
        self.field("denied_mask").unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "[ 12.3] audit: type=1400 audit(1795342738.894:7): apparmor=\"DENIED\" \
        operation=\"open\" class=\"file\" profile=\"web\" name=\"/etc/shadow\" pid=103 \
        comm=\"cat\" requested_mask=\"r\" denied_mask=\"r\" fsuid=0 ouid=0";

    #[track_caller]
    fn event(line: &str) -> Event {
        Event::parse(line).unwrap()
    }

    #[test]
    fn a_line_of_each_log() {
        let kernel = event(FILE);
        assert_eq!(kernel.verdict, Verdict::Denied);
        assert_eq!(kernel.timestamp.as_deref(), Some("1795342738.894:7"));
        assert_eq!(kernel.profile(), Some("web"));
        assert_eq!(kernel.field("pid"), Some("103"));
        let shown = (kernel.operation(), &*kernel.object(), kernel.denied());
        assert_eq!(shown, ("open", "/etc/shadow", "r"));

        let pairs = FILE.split_once("): ").unwrap().1;
        let auditd = format!("type=AVC msg=audit(1795342738.894:7): {pairs}\u{1d}FSUID=\"root\"\n");
        assert_eq!(event(&auditd).object(), "/etc/shadow");
        let journal = event(&format!("Nov 23 00:00:00 node audit[103]: AVC {pairs}"));
        assert_eq!(journal.timestamp, None);
        assert_eq!(journal.fields, kernel.fields);
    }

    #[test]
    fn the_object_of_each_operation() {
        for (pairs, object) in [
            (
                "operation=\"capable\" profile=\"p\" capability=21  capname=\"sys_admin\"",
                "sys_admin",
            ),
            (
                "operation=\"create\" profile=\"p\" family=\"inet\" sock_type=\"stream\" protocol=0",
                "inet sock_type=stream",
            ),
            (
                "operation=\"signal\" profile=\"p\" signal=term peer=\"unconfined\"",
                "term peer=unconfined",
            ),
            (
                "operation=\"mount\" info=\"failed mntpnt match\" error=-13 profile=\"p\" \
                 name=\"/mnt/\" fstype=\"tmpfs\" srcname=\"tmpfs\" flags=\"rw, bind\"",
                "/mnt/ srcname=tmpfs fstype=tmpfs flags=rw, bind",
            ),
            (
                "operation=\"ptrace\" label=\"a//&b\" peer=\"unconfined\"",
                "peer=unconfined",
            ),
            (
                "operation=\"open\" profile=\"p\" name=2F6574632F612062",
                "/etc/a b",
            ),
            ("operation=\"open\" profile=\"p\" name=(null)", "(null)"),
            ("operation=\"open\" profile=\"p\" name=2F6", "2F6"),
        ] {
            let line = format!("audit: type=1400 audit(1.2:3): apparmor=\"ALLOWED\" {pairs}");
            let event = event(&line);
            assert_eq!(
                (event.verdict, &*event.object()),
                (Verdict::Allowed, object)
            );
        }
    }

    #[test]
    fn other_lines_are_no_events() {
        let pairs = FILE.split_once("): ").unwrap().1;
        for line in [
            "",
            "apparmor=\"DENIED\"",
            pairs,
            &format!("sshd[1]: user said: {pairs}"),
            &format!("audit(x): {pairs}"),
            "audit(1.2:3): apparmor=\"DENIED\" operation=\"open\"",
            "audit(1.2:3): apparmor=\"DENIED\" profile=\"p\"",
            "audit(1.2:3): apparmor=\"DENIED\" operation=\"open\" profile=\"p",
            "audit(1.2:3): apparmor=\"DENIED\" operation=\"open\" profile=\"p\" rest",
            &format!("{FILE} name={}", "A".repeat(MAX_LINE)),
        ] {
            assert_eq!(Event::parse(line), None, "{line}");
        }
    }

    proptest! {
        // A name that a container chooses never becomes a pair.
        #[test]
        fn names_stay_names(name in "[ -~\\n\u{e9}]{0,40}") {
            let plain = |c: char| c.is_ascii_graphic() && c != '"';
            let written = match name.chars().all(plain) {
                true => format!("\"{name}\""),
                false => name.bytes().map(|byte| format!("{byte:02X}")).collect(),
            };
            let line = format!(
                "audit(1.2:3): apparmor=\"DENIED\" operation=\"open\" profile=\"p\" \
                 name={written} pid=7"
            );
            let event = Event::parse(&line).unwrap();
            prop_assert_eq!(event.field("name"), Some(&*name));
            prop_assert_eq!((event.profile(), event.field("pid")), (Some("p"), Some("7")));
        }
    }
}

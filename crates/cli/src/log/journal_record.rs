//! One record of the journal, as `journalctl --output=json` prints it. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::header::Stamp;
use oci_apparmor_audit::unread::Unread;

use super::kmsg;

/// The fields that are needed; the values of fields are strings, or lists of bytes if they are not
/// printable.
#[derive(Debug, Deserialize)]
pub(super) struct JournalRecord {
    #[serde(rename = "MESSAGE")]
    message: Option<FieldValue>,
    #[serde(rename = "_TRANSPORT")]
    transport: Option<FieldValue>,
    #[serde(rename = "_AUDIT_ID")]
    audit_id: Option<FieldValue>,
    #[serde(rename = "_SOURCE_REALTIME_TIMESTAMP")]
    source_time: Option<FieldValue>,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    time: Option<FieldValue>,
    #[serde(rename = "_SOURCE_MONOTONIC_TIMESTAMP")]
    since_boot: Option<FieldValue>,
    #[serde(rename = "_BOOT_ID")]
    boot: Option<FieldValue>,
}

/// The value of a field. One that occurs several times is a list of values.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum FieldValue {
    Text(String),
    Bytes(Vec<u8>),
    Other(serde::de::IgnoredAny),
}

impl FieldValue {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Other(_) => &[],
        }
    }

    fn number(&self) -> Option<u64> {
        std::str::from_utf8(self.bytes()).ok()?.parse().ok()
    }
}

impl JournalRecord {
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    fn message(&self) -> &[u8] {
        self.message
            .as_ref()
            .map(FieldValue::bytes)
            .unwrap_or_default()
    }

    fn is_by(&self, transport: &[u8]) -> bool {
        self.transport
            .as_ref()
            .is_some_and(|by| by.bytes() == transport)
    }

    /// Whether journald received it from the audit socket.
    pub(super) fn is_of_audit(&self) -> bool {
        self.is_by(b"audit")
    }

    /// The event in the record.
    pub(super) fn event(&self) -> Result<Event, Unread> {
        if self.is_of_audit() {
            let event = Event::parse_journal(self.message())?;
            let stamp = self.stamp();
            return Ok(Event { stamp, ..event });
        }
        match self.is_by(b"kernel") {
            // As the kernel prints it. Only it can write records of this transport that begin so: what
            // programs write to /dev/kmsg has another facility, and is of the transport `syslog`.
            true => Event::parse(self.message()),
            false => Err(Unread::Other),
        }
    }

    fn stamp(&self) -> Option<Stamp> {
        let time = self.source_time.as_ref().or(self.time.as_ref())?.number()?;
        let milliseconds = time.checked_div(1000)?;
        Some(Stamp {
            seconds: milliseconds.checked_div(1000)?,
            milliseconds: u16::try_from(milliseconds.checked_rem(1000)?).ok()?,
            serial: self.audit_id.as_ref()?.number()?,
        })
    }

    /// How many audit records the kernel says it suppressed.
    pub(super) fn suppressed(&self) -> u64 {
        match self.is_by(b"kernel") {
            true => kmsg::suppressed(self.message()).unwrap_or_default(),
            false => 0,
        }
    }

    /// How many messages of the kernel journald says it missed (`server_read_dev_kmsg()`).
    pub(super) fn missed(&self) -> u64 {
        let read = || {
            let rest = self.message().strip_prefix(b"Missed ")?;
            let number = rest.strip_suffix(b" kernel messages")?;
            std::str::from_utf8(number).ok()?.parse().ok()
        };
        match self.is_by(b"driver") {
            true => read().unwrap_or_default(),
            false => 0,
        }
    }

    /// Whether it is the first record of the kernel's log since the boot with this id: journald has
    /// read that log from its beginning.
    pub(super) fn begins(&self, boot: &str) -> bool {
        let is_first = self.since_boot.as_ref().and_then(FieldValue::number) == Some(0);
        let is_boot = self.boot.as_ref().map(FieldValue::bytes) == Some(boot.as_bytes());
        self.is_by(b"kernel") && is_first && is_boot
    }

    /// When it was received.
    pub(super) fn time(&self) -> Option<SystemTime> {
        let since = Duration::from_micros(self.time.as_ref()?.number()?);
        UNIX_EPOCH.checked_add(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: &str = "apparmor=\"DENIED\" operation=\"open\" profile=\"web\" name=2FE9 pid=103 \
                         comm=\"cat\" requested_mask=\"r\" denied_mask=\"r\"";

    fn record(transport: &str, message: &serde_json::Value) -> JournalRecord {
        let line = serde_json::json!({
            "MESSAGE": message, "_TRANSPORT": transport, "_AUDIT_ID": "7", "__CURSOR": "s=1",
            "_SOURCE_REALTIME_TIMESTAMP": "1795342738894000", "__REALTIME_TIMESTAMP": "1795342738899123",
        });
        JournalRecord::parse(line.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn events_of_both_transports() {
        let printed = format!("audit: type=1400 audit(1795342738.894:7): {PAIRS}");
        let bytes = serde_json::json!(printed.as_bytes());
        let kernel = record("kernel", &printed.clone().into()).event().unwrap();
        assert_eq!(record("kernel", &bytes).event().unwrap(), kernel);
        assert_eq!(kernel.object(), r"/\xe9");
        let audit = record("audit", &format!("AVC {PAIRS}").into())
            .event()
            .unwrap();
        assert_eq!(audit, kernel);
        for transport in ["syslog", "stdout", "journal", "driver"] {
            let other = record(transport, &printed.clone().into());
            assert_eq!(other.event(), Err(Unread::Other), "{transport}");
        }
        for message in [serde_json::Value::Null, serde_json::json!(["a", "b"])] {
            assert_eq!(record("kernel", &message).event(), Err(Unread::Other));
        }
        for line in ["", "{", "[]", "{\"MESSAGE\":"] {
            assert!(JournalRecord::parse(line.as_bytes()).is_none());
        }
    }

    /// Records of journald 257 on a kernel 6.12: of the kernel's log, and of the audit socket.
    #[test]
    fn records_of_a_real_journal() {
        const PRINTED: &str = r#"{"__SEQNUM":"410","_SOURCE_BOOTTIME_TIMESTAMP":"9178919","_BOOT_ID":"0ba9aa23d1e44fcc9e207c4d073c9985","PRIORITY":"5","__CURSOR":"s=db64;i=19a","_HOSTNAME":"node","__MONOTONIC_TIMESTAMP":"9162230","MESSAGE":"audit: type=1400 audit(1795719603.493:5): apparmor=\"DENIED\" operation=\"open\" class=\"file\" profile=\"web\" name=2F6574632F6820C3A922 pid=204 comm=\"cat\" requested_mask=\"r\" denied_mask=\"r\" fsuid=0 ouid=0","_SOURCE_MONOTONIC_TIMESTAMP":"9178919","_RUNTIME_SCOPE":"system","SYSLOG_IDENTIFIER":"kernel","__REALTIME_TIMESTAMP":"1795719603502385","SYSLOG_FACILITY":"0","_TRANSPORT":"kernel"}"#;
        const AUDIT: &str = r#"{"_AUDIT_FIELD_OPERATION":"\"open\"","_AUDIT_FIELD_OUID":"0","_AUDIT_ID":"5","_AUDIT_FIELD_PROFILE":"\"web\"","MESSAGE":"AVC apparmor=\"DENIED\" operation=\"open\" class=\"file\" profile=\"web\" name=2F6574632F6820C3A922 pid=204 comm=\"cat\" requested_mask=\"r\" denied_mask=\"r\" fsuid=0 ouid=0","_PID":"204","__MONOTONIC_TIMESTAMP":"9158476","__REALTIME_TIMESTAMP":"1795719603498630","__SEQNUM":"408","SYSLOG_FACILITY":"4","_AUDIT_FIELD_NAME":"/etc/h é\"","_TRANSPORT":"audit","_FSUID":"0","_AUDIT_TYPE_NAME":"AVC","_COMM":"cat","_AUDIT_FIELD_REQUESTED_MASK":"\"r\"","_AUDIT_TYPE":"1400","SYSLOG_IDENTIFIER":"audit","_BOOT_ID":"0ba9aa23d1e44fcc9e207c4d073c9985","__CURSOR":"s=db64;i=198","_SOURCE_REALTIME_TIMESTAMP":"1795719603493000","_HOSTNAME":"node"}"#;
        // Syscall records of the same event; journald names the type, the kernel's log has a number.
        const OTHERS: [&str; 2] = [
            r#"{"MESSAGE":"audit: type=1327 audit(1795719603.493:5): proctitle=636174002F6574632F6820C3A922","__REALTIME_TIMESTAMP":"1795719603502942","_TRANSPORT":"kernel"}"#,
            r#"{"MESSAGE":"PROCTITLE proctitle=636174002F6574632F6820C3A922","_AUDIT_ID":"5","_TRANSPORT":"audit","_SOURCE_REALTIME_TIMESTAMP":"1795719603493000"}"#,
        ];
        let parse = |line: &str| JournalRecord::parse(line.as_bytes()).unwrap();
        let printed = parse(PRINTED).event().unwrap();
        assert_eq!(parse(AUDIT).event().unwrap(), printed);
        assert_eq!(printed.object(), "/etc/h é\"");
        for line in OTHERS {
            assert_eq!(parse(line).event(), Err(Unread::Other));
        }
    }

    #[test]
    fn numbers_of_what_is_missing() {
        let suppressed = "kauditd_printk_skb: 43 callbacks suppressed".into();
        assert_eq!(record("kernel", &suppressed).suppressed(), 43);
        assert_eq!(record("syslog", &suppressed).suppressed(), 0);
        let missed = "Missed 12 kernel messages".into();
        assert_eq!(record("driver", &missed).missed(), 12);
        assert_eq!(record("kernel", &missed).missed(), 0);
        let begins = |line: &str| {
            JournalRecord::parse(line.as_bytes())
                .unwrap()
                .begins("0ba9")
        };
        // As journald 257 has it.
        let first =
            r#"{"_TRANSPORT":"kernel","_SOURCE_MONOTONIC_TIMESTAMP":"0","_BOOT_ID":"0ba9"}"#;
        assert!(begins(first));
        for (part, other) in [("\"0\"", "\"12\""), ("0ba9", "0ba8"), ("kernel", "syslog")] {
            assert!(!begins(&first.replace(part, other)), "{other}");
        }
        let time = record("kernel", &missed).time().unwrap();
        let since = time.duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(since, Duration::from_micros(1_795_342_738_899_123));
    }
}

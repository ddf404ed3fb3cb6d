//! One event in a line of a log: kernel messages (`dmesg`, `journalctl -k`), auditd's
//! `audit.log`, or the journal's own audit lines.
//!
//! The kernel writes `key=value` pairs (`audit_pre()`, security/apparmor/audit.c). A value is in
//! quotes, or a plain word, or, where it holds a blank, a quote or what cannot be printed, in
//! hexadecimal without quotes (`audit_log_untrustedstring()`, kernel/audit.c). So a container,
//! which chooses names of files and commands, cannot put pairs of its own into a line.

use std::collections::BTreeMap;

/// What begins the pairs of an event.
const START: &str = "apparmor=\"";

/// The longest line that is looked at; the kernel's own records have at most 8970 bytes
/// (`MAX_AUDIT_MESSAGE_LENGTH`, include/linux/audit.h).
const MAX_LINE: usize = 16 << 10;

/// Keys whose values the kernel takes from outside, and may write in hexadecimal.
const UNTRUSTED: [&str; 9] = [
    "comm",
    "label",
    "name",
    "namespace",
    "peer",
    "profile",
    "srcname",
    "target",
    "trans",
];

/// What was made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The process was refused something.
    Denied,
    /// The profile complains: it was let, and would be refused by one that enforces.
    Allowed,
    /// The process was killed for it.
    Killed,
    /// A rule says that it is to be reported (`audit`).
    Audited,
    /// Something else: a profile that was loaded, an error.
    Other,
}

impl Verdict {
    /// What people call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Allowed => "allowed",
            Self::Killed => "killed",
            Self::Audited => "audited",
            Self::Other => "other",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "DENIED" => Self::Denied,
            "ALLOWED" => Self::Allowed,
            "KILLED" => Self::Killed,
            "AUDIT" => Self::Audited,
            _ => Self::Other,
        }
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What was made of it.
    pub verdict: Verdict,
    /// When, in seconds since 1970 with milliseconds, and its number: `1795342738.894:7`. The
    /// journal's own lines have none.
    pub stamp: Option<String>,
    fields: BTreeMap<String, String>,
}

impl Event {
    /// The event in a line; `None` where there is none.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        if line.len() > MAX_LINE {
            return None;
        }
        let (before, pairs) = line.split_at(line.find(START)?);
        let stamp = match before.strip_suffix("): ") {
            Some(before) => {
                let (_, stamp) = before.rsplit_once("audit(")?;
                let is_stamp = |c: char| c.is_ascii_digit() || ".:".contains(c);
                Some(stamp).filter(|s| s.chars().all(is_stamp))?
            }
            // Anything else may be text of another program.
            None if before.ends_with("AVC ") => "",
            None => return None,
        };
        let fields = fields(pairs)?;
        let event = Self {
            verdict: Verdict::of(fields.get("apparmor")?),
            stamp: (!stamp.is_empty()).then(|| stamp.to_owned()),
            fields,
        };
        (event.profile().is_some() && event.field("operation").is_some()).then_some(event)
    }

    /// A field, decoded.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<&str> {
        self.fields.get(key).map(String::as_str)
    }

    /// The profile whose rule decided; of a stack, the one that refused.
    #[must_use]
    pub fn profile(&self) -> Option<&str> {
        self.field("profile").or(self.field("label"))
    }

    /// What was tried, without what it was tried on: `open`, `capable`, `mount`.
    #[must_use]
    pub fn operation(&self) -> &str {
        self.field("operation").unwrap_or_default()
    }

    /// What it was tried on: a path, a capability, a kind of socket, another process.
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
            // The first is the object; the others say what of it.
            Some(match Some(key) == all.first() {
                true => value.to_owned(),
                false => format!("{key}={value}"),
            })
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// The permissions that the profile does not give: `r`, `wc`, `send`.
    #[must_use]
    pub fn denied(&self) -> &str {
        self.field("denied_mask").unwrap_or_default()
    }
}

/// The pairs of an event; `None` where they do not end as they should.
fn fields(mut rest: &str) -> Option<BTreeMap<String, String>> {
    let mut fields = BTreeMap::new();
    // auditd puts its own translations behind a group separator.
    let blank = |c: char| c == ' ' || c == '\n' || c == '\r' || c == '\u{1d}';
    loop {
        rest = rest.trim_start_matches(blank);
        let Some((key, value)) = rest.split_once('=') else {
            return rest.is_empty().then_some(fields);
        };
        let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if key.is_empty() || !key.chars().all(is_key) {
            return None;
        }
        let text;
        (text, rest) = match value.strip_prefix('"') {
            Some(quoted) => {
                let (text, behind) = quoted.split_once('"')?;
                (text.to_owned(), behind)
            }
            None => {
                let (word, behind) = value.split_at(value.find(blank).unwrap_or(value.len()));
                let encoded = UNTRUSTED.contains(&key).then(|| hexadecimal(word));
                let plain = || word.to_owned();
                (encoded.flatten().unwrap_or_else(plain), behind)
            }
        };
        // The first counts: what comes later is not the kernel's.
        fields.entry(key.to_owned()).or_insert(text);
    }
}

/// The text that these digits stand for; `None` where they are none.
fn hexadecimal(digits: &str) -> Option<String> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let bytes: Option<Vec<u8>> = digits
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(high)?.checked_mul(16)?.checked_add(digit(low)?)?),
            _ => None,
        })
        .collect();
    Some(String::from_utf8_lossy(&bytes?).into_owned())
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
        assert_eq!(kernel.stamp.as_deref(), Some("1795342738.894:7"));
        assert_eq!(kernel.profile(), Some("web"));
        assert_eq!(kernel.field("pid"), Some("103"));
        let said = (kernel.operation(), &*kernel.object(), kernel.denied());
        assert_eq!(said, ("open", "/etc/shadow", "r"));

        let pairs = FILE.split_once("): ").unwrap().1;
        let auditd = format!("type=AVC msg=audit(1795342738.894:7): {pairs}\u{1d}FSUID=\"root\"\n");
        assert_eq!(event(&auditd).object(), "/etc/shadow");
        let journal = event(&format!("Nov 23 00:00:00 node audit[103]: AVC {pairs}"));
        assert_eq!(journal.stamp, None);
        assert_eq!(journal.fields, kernel.fields);
    }

    #[test]
    fn what_was_tried_and_on_what() {
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
    fn other_lines_are_none() {
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
        // What a container names is never taken for a pair of the kernel's.
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

//! How rules are written.

use std::fmt;

use crate::rule::PolicyRule;
use crate::rule::keyword::Keyword;
use crate::rule::kinds::{
    DbusRule, FileRule, LinkRule, MountKind, MountRule, NetworkRule, QueueRule, SignalRule,
    UnixAddress, UnixRule,
};
use crate::rule::pattern::{NamePattern, PatternPart};
use crate::rule::permissions::Permission;
use crate::text::OutsideText;

impl fmt::Display for PolicyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(rule) => rule.fmt(f),
            Self::Link(rule) => rule.fmt(f),
            Self::Capability(name) => write!(f, "capability {name}"),
            Self::Network(rule) => rule.fmt(f),
            Self::Unix(rule) => rule.fmt(f),
            Self::Signal(rule) => rule.fmt(f),
            Self::Ptrace(rule) => write!(f, "ptrace {} peer={}", rule.permissions, rule.peer),
            Self::Mount(rule) => rule.fmt(f),
            Self::Umount(target) => write!(f, "umount {target}"),
            Self::PivotRoot(rule) => {
                f.write_str("pivot_root ")?;
                option(f, "oldroot=", rule.old.as_ref(), " ")?;
                rule.new.fmt(f)
            }
            Self::ChangeProfile(label) => write!(f, "change_profile -> {label}"),
            Self::Userns => f.write_str("userns"),
            Self::MessageQueue(rule) => rule.fmt(f),
            Self::IoUring(rule) => {
                write!(f, "io_uring {}", rule.permissions)?;
                option(f, " label=", rule.label.as_ref(), "")
            }
            Self::ResourceLimit(rule) => limit(f, &rule.resource, rule.value),
            Self::Dbus(rule) => rule.fmt(f),
        }?;
        f.write_str(",")
    }
}

fn option<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    before: &str,
    value: Option<&T>,
    behind: &str,
) -> fmt::Result {
    match value {
        Some(value) => write!(f, "{before}{value}{behind}"),
        None => Ok(()),
    }
}

fn words<'w>(words: impl IntoIterator<Item = &'w Keyword>) -> String {
    let words: Vec<&str> = words.into_iter().map(Keyword::as_str).collect();
    words.join(", ")
}

impl fmt::Display for FileRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = if self.owner { "owner " } else { "" };
        let exec = self.exec.map_or("", |exec| exec.as_str());
        write!(f, "{owner}{} {}{exec}", self.path, self.permissions)
    }
}

impl fmt::Display for LinkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = if self.owner { "owner " } else { "" };
        write!(f, "{owner}link {} -> {}", self.path, self.target)
    }
}

impl fmt::Display for NetworkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "network {}", self.family)?;
        option(f, " ", self.socket_type.as_ref(), "")
    }
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unnamed => f.write_str("none"),
            Self::Abstract(name) => {
                let at = PatternPart::Text(OutsideText::new(&b"@"[..]));
                let parts = [&[at], name.parts()].concat();
                NamePattern::of(parts).fmt(f)
            }
        }
    }
}

impl fmt::Display for UnixRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix {}", self.permissions)?;
        option(f, " type=", self.socket_type.as_ref(), "")?;
        option(f, " addr=", self.address.as_ref(), "")?;
        if self.peer.is_none() && self.peer_address.is_none() {
            return Ok(());
        }
        f.write_str(" peer=(")?;
        option(f, "label=", self.peer.as_ref(), "")?;
        let blank = if self.peer.is_some() {
            " addr="
        } else {
            "addr="
        };
        option(f, blank, self.peer_address.as_ref(), "")?;
        f.write_str(")")
    }
}

impl fmt::Display for SignalRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            permissions,
            signals,
            peer,
        } = self;
        write!(
            f,
            "signal {permissions} set=({}) peer={peer}",
            words(signals)
        )
    }
}

impl fmt::Display for MountRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            MountKind::Mount => "mount",
            MountKind::Remount => "remount",
        })?;
        option(f, " fstype=", self.file_system.as_ref(), "")?;
        if !self.options.is_empty() {
            write!(f, " options=({})", words(&self.options))?;
        }
        match self.kind {
            MountKind::Mount => {
                option(f, " ", self.source.as_ref(), "")?;
                write!(f, " -> {}", self.target)
            }
            MountKind::Remount => write!(f, " {}", self.target),
        }
    }
}

impl fmt::Display for QueueRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.system_v { "sysv" } else { "posix" };
        write!(f, "mqueue {} type={kind}", self.permissions)?;
        option(f, " label=", self.label.as_ref(), "")?;
        write!(f, " {}", self.name)
    }
}

/// Units as `process_rlimit` of the parser's grammar reads them.
fn limit(f: &mut fmt::Formatter<'_>, resource: &Keyword, value: u64) -> fmt::Result {
    write!(f, "set rlimit {resource} <= ")?;
    match resource.as_str() {
        // RLIM_INFINITY; the kernel's `nice` has no such value.
        _ if value == u64::MAX => f.write_str("infinity"),
        "cpu" => write!(f, "{value}seconds"),
        "rttime" => write!(f, "{value}us"),
        // setrlimit(2) counts 20 less the nice value, from 1 to 40.
        "nice" => {
            let nice = i64::try_from(value).map_or(-20, |value| 20_i64.saturating_sub(value));
            write!(f, "{}", nice.clamp(-20, 19))
        }
        _ => write!(f, "{value}"),
    }
}

impl fmt::Display for DbusRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dbus {} bus={}", self.permissions, self.bus)?;
        option(f, " path=", self.path.as_ref(), "")?;
        option(f, " interface=", self.interface.as_ref(), "")?;
        option(f, " member=", self.member.as_ref(), "")?;
        match (&self.name, &self.peer) {
            (None, None) => Ok(()),
            (Some(name), _) if self.permissions.has(Permission::Bind) => write!(f, " name={name}"),
            (name, peer) => {
                f.write_str(" peer=(")?;
                option(f, "name=", name.as_ref(), "")?;
                let blank = if name.is_some() { " label=" } else { "label=" };
                option(f, blank, peer.as_ref(), "")?;
                f.write_str(")")
            }
        }
    }
}

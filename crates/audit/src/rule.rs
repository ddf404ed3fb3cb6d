//! One AppArmor rule as a value, and what an event teaches.
//!
//! ```
//! use oci_apparmor_audit::event::Event;
//! use oci_apparmor_audit::rule::Learnt;
//!
//! let line = b"audit: type=1400 audit(1795342738.894:7): apparmor=\"DENIED\" operation=\"open\" \
//!     profile=\"web\" name=2F7372762F6120622A pid=103 comm=\"nginx\" denied_mask=\"wc\" fsuid=101 \
//!     ouid=101";
//! let event = Event::parse(line).expect("one event");
//! let Learnt::Rule(rule) = Learnt::of(&event) else { panic!() };
//! assert_eq!(rule.to_string(), r#"owner "/srv/a b\*" w,"#);
//! ```

mod display;
pub mod keyword;
pub mod kinds;
mod learnt;
pub mod lineage;
mod of_event;
mod of_file;
mod of_mount;
mod of_peer;
pub mod pattern;
pub mod permissions;

pub use learnt::{Learnt, ProfileFlag, Reason};

use keyword::Keyword;
use kinds::{
    DbusRule, FileRule, IoUringRule, LinkRule, MountRule, NetworkRule, PivotRootRule, PtraceAccess,
    QueueRule, ResourceLimitRule, SignalRule, UnixRule,
};
use pattern::NamePattern;
use permissions::{FilePermissions, PermissionSet};

/// One rule of a profile. It prints as one line, with its comma, that apparmor_parser 3.0 and 4.1
/// accept inside a profile, if [`PolicyRule::needs_parser_4`] is false; otherwise 4.0 and later.
///
/// A rule allows something only if the kernel mediates its class for the profile, which depends on the
/// features that the profile is compiled for: its `abi` line, or `policy-features` of the parser's
/// configuration. Where a class is not mediated, the kernel writes no event of it. So a rule that was
/// learnt needs no other `abi` than the profile that it was learnt with.
///
/// Rules are sorted by their kind, in the order below, and then by what they are about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyRule {
    /// `capability chown,`
    Capability(Keyword),
    /// `network inet stream,`
    Network(NetworkRule),
    /// `unix (send, receive) type=stream peer=(addr="@x"),`
    Unix(UnixRule),
    /// `dbus (send) bus=system path=/a interface=b member=c peer=(label=d),`
    Dbus(DbusRule),
    /// `signal (send) set=(term) peer=web,`
    Signal(SignalRule),
    /// `ptrace (read) peer=web,`
    Ptrace(PtraceAccess),
    /// `mqueue (create, open) type=posix /queue,`
    MessageQueue(QueueRule),
    /// `io_uring (sqpoll),`
    IoUring(IoUringRule),
    /// `userns,`
    Userns,
    /// `mount fstype=tmpfs options=(rw) tmpfs -> /mnt/,`
    Mount(MountRule),
    /// `umount /mnt/,`
    Umount(NamePattern),
    /// `pivot_root oldroot=/new/old/ /new/,`
    PivotRoot(PivotRootRule),
    /// `change_profile -> other,`
    ChangeProfile(NamePattern),
    /// `set rlimit nofile <= 1024,`
    ResourceLimit(ResourceLimitRule),
    /// `/usr/bin/cat mrix,`
    File(FileRule),
    /// `link /a -> /b,`
    Link(LinkRule),
}

impl PolicyRule {
    /// Whether apparmor_parser 3.x refuses the rule, and with it the whole profile. A profile that was
    /// compiled with 3.x has no events of these classes.
    #[must_use]
    pub fn needs_parser_4(&self) -> bool {
        matches!(
            self,
            Self::Userns | Self::MessageQueue(_) | Self::IoUring(_)
        )
    }

    /// What the rule is about, without what it allows: rules with the same subject become one.
    pub(crate) fn subject(&self) -> Self {
        let mut subject = self.clone();
        match &mut subject {
            Self::File(rule) => {
                (rule.permissions, rule.exec) = (FilePermissions::NONE, None);
                rule.owner = false;
            }
            Self::Link(rule) => rule.owner = false,
            // A rule with two sets allows each of one with each of the other, so one of them must be
            // the same.
            Self::Signal(rule) => rule.signals.clear(),
            Self::Ptrace(rule) => rule.permissions = PermissionSet::default(),
            Self::Unix(rule) => rule.permissions = PermissionSet::default(),
            Self::MessageQueue(rule) => rule.permissions = PermissionSet::default(),
            Self::ResourceLimit(rule) => rule.value = 0,
            Self::Capability(_)
            | Self::Network(_)
            | Self::Dbus(_)
            | Self::IoUring(_)
            | Self::Userns
            | Self::Mount(_)
            | Self::Umount(_)
            | Self::PivotRoot(_)
            | Self::ChangeProfile(_) => {}
        }
        subject
    }

    /// Takes in what a rule with the same subject allows.
    pub(crate) fn absorb(&mut self, other: &Self) {
        match (self, other) {
            (Self::File(one), Self::File(other)) => one.absorb(other),
            (Self::Link(one), Self::Link(other)) => one.owner = one.owner && other.owner,
            (Self::Signal(one), Self::Signal(other)) => {
                one.signals.extend(other.signals.iter().cloned());
            }
            (Self::Ptrace(one), Self::Ptrace(other)) => {
                one.permissions = one.permissions.and(other.permissions);
            }
            (Self::Unix(one), Self::Unix(other)) => {
                one.permissions = one.permissions.and(other.permissions);
            }
            (Self::MessageQueue(one), Self::MessageQueue(other)) => {
                one.permissions = one.permissions.and(other.permissions);
            }
            (Self::ResourceLimit(one), Self::ResourceLimit(other)) => {
                one.value = one.value.max(other.value);
            }
            // The others are equal if their subject is.
            _ => {}
        }
    }
}

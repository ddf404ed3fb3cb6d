//! Rules that give away what a profile is for.

use std::fmt;

use crate::rule::PolicyRule;
use crate::rule::kinds::{ExecTransition, NetworkRule};
use crate::rule::pattern::NamePattern;
use crate::rule::permissions::{FilePermissions, Permission, PermissionSet};
use crate::suggestion::paths;
use crate::text::OutsideText;

/// Why a rule should not be in force before it is understood. It prints as one line, without a full
/// stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Danger(&'static str);

impl Danger {
    /// The reason against a rule of this profile, if there is one.
    #[must_use]
    pub fn of(rule: &PolicyRule, profile: &[u8]) -> Option<Self> {
        of(rule, profile)
    }

    /// The reason.
    #[must_use]
    pub fn reason(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Capabilities with which a process can leave its container, or change the node.
const CAPABILITIES: [(&str, &str); 17] = [
    (
        "sys_admin",
        "mounts, and most of what only root of the node may do",
    ),
    ("sys_module", "loads code into the kernel"),
    ("sys_ptrace", "reads and controls processes of other users"),
    (
        "sys_rawio",
        "reads and writes hardware and memory of the node",
    ),
    ("sys_boot", "restarts the node"),
    ("sys_time", "sets the clock of the node"),
    ("mac_admin", "changes AppArmor's policy"),
    ("mac_override", "evades mandatory access control"),
    (
        "dac_read_search",
        "opens any file of the node by its handle",
    ),
    ("bpf", "loads programs into the kernel"),
    (
        "perfmon",
        "observes the kernel and all processes of the node",
    ),
    (
        "checkpoint_restore",
        "chooses process ids, and reads other processes",
    ),
    ("audit_control", "changes what the kernel audits"),
    ("audit_read", "reads the audit log of the node"),
    (
        "syslog",
        "reads the kernel's log, and addresses of the kernel",
    ),
    (
        "net_admin",
        "changes the network, that of the node if it is shared",
    ),
    (
        "linux_immutable",
        "changes files that are protected against changes",
    ),
];

/// Families of sockets that reach beyond the network of the container.
const FAMILIES: [(&str, &str); 4] = [
    ("packet", "reads and forges all packets of the network"),
    ("xdp", "reads and forges all packets of the network"),
    ("key", "changes the keys of IPsec"),
    ("vsock", "talks to the hypervisor"),
];

fn find(table: &[(&str, &'static str)], word: &str) -> Option<&'static str> {
    let mut entries = table.iter();
    let entry = entries.find(|(known, _)| *known == word);
    entry.map(|(_, reason)| *reason)
}

/// Why a rule of this profile should not be in force before it is understood.
pub(super) fn of(rule: &PolicyRule, profile: &[u8]) -> Option<Danger> {
    let reason = match rule {
        PolicyRule::Capability(name) => find(&CAPABILITIES, name.as_str()),
        PolicyRule::Network(rule) => network(rule),
        PolicyRule::Dbus(rule) if rule.bus.as_str() == "system" => Some(
            "services of the node's system bus act as root; and a program reported it, not the kernel",
        ),
        PolicyRule::Ptrace(rule) => {
            let active = [Permission::Read, Permission::Trace];
            let is_active = active.iter().any(|word| rule.permissions.has(*word));
            (is_active && !is(&rule.peer, profile))
                .then_some("reads or controls processes outside of this profile")
        }
        PolicyRule::IoUring(rule) => overrides(rule.permissions),
        PolicyRule::Userns => Some(
            "gives all capabilities in a new user namespace, and with them much of the kernel's code",
        ),
        PolicyRule::Mount(_) => Some("a mount can hide or replace what other rules protect"),
        PolicyRule::Umount(_) => {
            Some("an umount can uncover what a mount hides, for example in /proc")
        }
        PolicyRule::PivotRoot(_) => {
            Some("another root directory gives other files the paths of rules")
        }
        PolicyRule::ChangeProfile(label) => change(label, profile),
        PolicyRule::File(rule) if rule.exec == Some(ExecTransition::Unconfined) => {
            Some("the program is not confined by any profile")
        }
        PolicyRule::File(rule) => paths::danger(&rule.path, rule.permissions),
        // With another name, other rules may allow more.
        PolicyRule::Link(rule) => paths::danger(&rule.target, FilePermissions::ALL),
        PolicyRule::Unix(_)
        | PolicyRule::Dbus(_)
        | PolicyRule::Signal(_)
        | PolicyRule::MessageQueue(_)
        | PolicyRule::ResourceLimit(_) => None,
    };
    reason.map(Danger)
}

fn network(rule: &NetworkRule) -> Option<&'static str> {
    let family = rule.family.as_str();
    let is_raw = rule
        .socket_type
        .as_ref()
        .is_none_or(|kind| kind.as_str() == "raw");
    find(&FAMILIES, family).or_else(|| {
        (is_raw && matches!(family, "inet" | "inet6")).then_some("forges packets of other programs")
    })
}

fn overrides(permissions: PermissionSet) -> Option<&'static str> {
    permissions
        .has(Permission::OverrideCredentials)
        .then_some("does things with the credentials of another process")
}

fn is(label: &NamePattern, profile: &[u8]) -> bool {
    label.name().is_some_and(|name| name.bytes() == profile)
}

/// A change to a child of the profile, or a stack with it, does not leave it.
fn change(label: &NamePattern, profile: &[u8]) -> Option<&'static str> {
    let name = label.name().map_or(&[][..], OutsideText::bytes);
    let behind = name.strip_prefix(profile);
    let stays = name.starts_with(b"&") || behind.is_some_and(|rest| rest.starts_with(b"//"));
    match name == b"unconfined" {
        true => Some("the process leaves all confinement"),
        false => (!stays && !is(label, profile))
            .then_some("the process leaves this profile for another one"),
    }
}

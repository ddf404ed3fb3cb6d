//! The parts of rules that have several.

use std::collections::BTreeSet;

use crate::rule::keyword::Keyword;
use crate::rule::pattern::NamePattern;
use crate::rule::permissions::{FilePermissions, PermissionSet};

/// What becomes of the label when a program is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExecTransition {
    /// `ix`: the program has the same profile.
    Inherit,
    /// `Px`: it has the profile that is attached to its path, which must be loaded.
    Profile,
    /// `Cx`: it has a child profile, which must be in this profile.
    Child,
    /// `Ux`: it is unconfined.
    Unconfined,
}

impl ExecTransition {
    /// As rules write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inherit => "ix",
            Self::Profile => "Px",
            Self::Child => "Cx",
            Self::Unconfined => "Ux",
        }
    }
}

/// Allows access to files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileRule {
    /// The files.
    pub path: NamePattern,
    /// What is allowed.
    pub permissions: FilePermissions,
    /// Whether it may be executed, and how.
    pub exec: Option<ExecTransition>,
    /// Whether only the owner of the file may do it.
    pub owner: bool,
}

impl FileRule {
    /// Takes in what another rule allows.
    pub(crate) fn absorb(&mut self, other: &Self) {
        self.permissions = self.permissions.and(other.permissions);
        self.exec = self.exec.or(other.exec);
        self.owner = self.owner && other.owner;
    }
}

/// Allows hard links.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkRule {
    /// The new name.
    pub path: NamePattern,
    /// The file that it is a link to.
    pub target: NamePattern,
    /// Whether only the owner of the file may do it.
    pub owner: bool,
}

/// Allows sockets of a family and type, with all that is done with them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkRule {
    /// The family: `inet`.
    pub family: Keyword,
    /// The type: `stream`; any type without it.
    pub socket_type: Option<Keyword>,
}

/// The address of a Unix socket in a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnixAddress {
    /// It has none.
    Unnamed,
    /// An abstract name, without the `@`.
    Abstract(NamePattern),
}

/// Allows Unix sockets, on kernels that look at their addresses (7.x).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixRule {
    /// What is allowed.
    pub permissions: PermissionSet,
    /// The type: `stream`.
    pub socket_type: Option<Keyword>,
    /// The own address.
    pub address: Option<UnixAddress>,
    /// The address of the peer.
    pub peer_address: Option<UnixAddress>,
    /// The label of the peer.
    pub peer: Option<NamePattern>,
}

/// Allows signals.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignalRule {
    /// `send` or `receive`.
    pub permissions: PermissionSet,
    /// The signals.
    pub signals: BTreeSet<Keyword>,
    /// The label of the other process.
    pub peer: NamePattern,
}

/// Allows to look into other processes, and to control them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PtraceAccess {
    /// `read`, `trace`, `readby` or `tracedby`.
    pub permissions: PermissionSet,
    /// The label of the other process.
    pub peer: NamePattern,
}

/// Allows some of what io_uring can do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IoUringRule {
    /// `sqpoll` or `override_creds`.
    pub permissions: PermissionSet,
    /// The label of the credentials that are used.
    pub label: Option<NamePattern>,
}

/// Allows pivot_root(2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PivotRootRule {
    /// Where the old root is put; anywhere without it.
    pub old: Option<NamePattern>,
    /// The new root.
    pub new: NamePattern,
}

/// Sets the highest limit of a resource that a process may choose. The limit is also set when the
/// profile is entered. The rule takes the place of one for the same resource that stands before it in
/// the profile; without any, the kernel refuses no limit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceLimitRule {
    /// The resource: `nofile`.
    pub resource: Keyword,
    /// The limit, as setrlimit(2) counts it.
    pub value: u64,
}

/// What a mount rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MountKind {
    /// A new mount, or `bind` or `move`.
    Mount,
    /// Options of a mount are changed.
    Remount,
}

/// Allows mounts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MountRule {
    /// What is done.
    pub kind: MountKind,
    /// The type of the file system; any without it.
    pub file_system: Option<NamePattern>,
    /// Exactly these options.
    pub options: Vec<Keyword>,
    /// What is mounted; anything without it.
    pub source: Option<NamePattern>,
    /// Where.
    pub target: NamePattern,
}

/// Allows message queues.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueRule {
    /// What is allowed.
    pub permissions: PermissionSet,
    /// Whether the queue is of System V, and not of POSIX.
    pub system_v: bool,
    /// The name, `/queue`, or the key.
    pub name: NamePattern,
    /// The label of the queue.
    pub label: Option<NamePattern>,
}

/// Allows messages on a bus.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DbusRule {
    /// What is allowed.
    pub permissions: PermissionSet,
    /// The bus.
    pub bus: Keyword,
    /// The path of the object.
    pub path: Option<NamePattern>,
    /// The interface.
    pub interface: Option<NamePattern>,
    /// The method or signal.
    pub member: Option<NamePattern>,
    /// The name of the peer; of a rule for `bind`, the own name.
    pub name: Option<NamePattern>,
    /// The label of the peer.
    pub peer: Option<NamePattern>,
}

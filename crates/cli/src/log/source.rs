//! What `--source` names.

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

/// Where events are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// What is most complete on this node.
    Auto,
    /// The kernel's multicast of audit records: everything from now on.
    Netlink,
    /// The log of auditd, with its rotated files.
    AuditLog,
    /// The kernel's log.
    Kmsg,
    /// The journal of systemd.
    Journal,
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

impl SourceKind {
    /// Reads the value of `--source`, or a file's name. A file that is named as a source is written
    /// with a slash: `./kmsg`.
    pub(crate) fn named(word: &str) -> Self {
        match word {
            "auto" => Self::Auto,
            "netlink" => Self::Netlink,
            "audit-log" => Self::AuditLog,
            "kmsg" => Self::Kmsg,
            "journal" => Self::Journal,
            file => Self::file(file.into()),
        }
    }

    /// A file; `-` is standard input.
    pub(crate) fn file(path: PathBuf) -> Self {
        match path.as_os_str() == "-" {
            true => Self::Stdin,
            false => Self::File(path),
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Netlink => f.write_str("netlink"),
            Self::AuditLog => f.write_str("audit-log"),
            Self::Kmsg => f.write_str("kmsg"),
            Self::Journal => f.write_str("journal"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Stdin => f.write_str("standard input"),
        }
    }
}

/// What to read.
#[derive(Debug, Clone)]
pub(crate) struct LogOptions {
    /// The sources; none means [`SourceKind::Auto`].
    pub(crate) sources: Vec<SourceKind>,
    /// Whether to go on with what is logged from now on. Without `since`, only that is read.
    pub(crate) follow: bool,
    /// Events from before are left out. Without it, and without `follow`, everything is read.
    pub(crate) since: Option<SystemTime>,
}

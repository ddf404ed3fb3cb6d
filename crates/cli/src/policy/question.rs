//! Accesses that a profile can be asked about. `query.rs` has the bytes that the kernel matches.

use std::fmt;

use crate::policy::bits;
use crate::policy::numbers;
use oci_apparmor_audit::text::OutsideText;

/// An access that a profile can be asked about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Question {
    /// A file, or a program to execute. The path of a directory ends with `/`.
    File {
        path: OutsideText,
        /// [`bits::FILE`].
        permissions: u32,
    },
    /// A hard link to a file.
    Link {
        link: OutsideText,
        target: OutsideText,
    },
    /// A change to another label.
    ChangeProfile {
        label: OutsideText,
        /// When the next program is executed, and not at once.
        on_exec: bool,
        /// Stacked on the label that the process has.
        stacked: bool,
    },
    /// A capability, by its number.
    Capability(u8),
    /// A socket.
    Network {
        family: u16,
        kind: u16,
        protocol: u16,
        /// [`bits::NETWORK`].
        permissions: u32,
    },
    /// A Unix socket without a path; one with a path is a file. Only kernels since 6.17 look at more
    /// than its type.
    Unix(UnixSocket),
    /// A signal, by the number that AppArmor matches.
    Signal {
        signal: u8,
        /// [`bits::SIGNAL`].
        permissions: u32,
        peer: OutsideText,
    },
    /// Tracing, or reading from `/proc`.
    Ptrace {
        /// [`bits::PTRACE`].
        permissions: u32,
        peer: OutsideText,
    },
    /// A mount.
    Mount(MountCall),
    /// An umount.
    Umount(OutsideText),
    /// pivot_root(2).
    PivotRoot { new: OutsideText, old: OutsideText },
    /// A new user namespace.
    UserNamespace,
    /// io_uring with a polling thread of the kernel.
    UringPoll,
    /// io_uring with the credentials of a process with this label.
    UringCredentials(OutsideText),
    /// A message on a bus, or a name on it.
    Dbus(BusMessage),
}

/// A Unix socket and, for messages, its peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UnixSocket {
    pub kind: u16,
    pub protocol: u16,
    pub permissions: u32,
    /// Its abstract name, without the NUL in front. `None`: it has no address.
    pub name: Option<OutsideText>,
    /// The peer's abstract name, and its label.
    pub peer: Option<(Option<OutsideText>, OutsideText)>,
}

/// What mount(2) is called with.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MountCall {
    pub target: OutsideText,
    pub source: Option<OutsideText>,
    pub fstype: Option<OutsideText>,
    /// `MS_…`.
    pub flags: u32,
    /// The options in text.
    pub data: Option<OutsideText>,
}

/// A message on a bus; with the permission to bind, only `bus` and `name` count.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BusMessage {
    pub permissions: u32,
    pub bus: OutsideText,
    pub name: OutsideText,
    pub peer: OutsideText,
    pub path: OutsideText,
    pub interface: OutsideText,
    pub member: OutsideText,
}

impl Question {
    /// The same question about each of its permissions alone. Itself, if its permissions cannot be
    /// told apart.
    pub(crate) fn each_permission(&self) -> Vec<Self> {
        let mut one = self.clone();
        let Some((permissions, table)) = one.permissions() else {
            return vec![one];
        };
        let all = *permissions;
        let bits = table.iter().map(|(_, bit)| *bit);
        bits.filter(|bit| all & bit != 0)
            .map(|bit| {
                let mut one = self.clone();
                if let Some((permissions, _)) = one.permissions() {
                    *permissions = bit;
                }
                one
            })
            .collect()
    }

    /// Its permissions, with the table of their names; none if they cannot be told apart.
    fn permissions(&mut self) -> Option<(&mut u32, &'static [(&'static str, u32)])> {
        match self {
            Self::File { permissions, .. } => Some((permissions, &bits::FILE)),
            Self::Network { permissions, .. } => Some((permissions, &bits::NETWORK)),
            Self::Signal { permissions, .. } => Some((permissions, &bits::SIGNAL)),
            Self::Ptrace { permissions, .. } => Some((permissions, &bits::PTRACE)),
            _ => None,
        }
    }

    /// The names of its permissions, as in a rule; empty if they cannot be told apart.
    pub(crate) fn permission_names(&self) -> String {
        match self.clone().permissions() {
            Some((permissions, table)) => permission_names(*permissions, table),
            None => String::new(),
        }
    }

    /// Whether `owner` rules can decide it.
    pub(crate) fn has_owner(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Link { .. })
    }
}

/// The names of permissions: letters together, words with blanks between them.
fn permission_names(permissions: u32, table: &[(&'static str, u32)]) -> String {
    let are_letters = table.iter().all(|(name, _)| name.len() == 1);
    bits::names(permissions, table).join(if are_letters { "" } else { " " })
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.permission_names();
        match self {
            Self::File { path, .. } => write!(f, "{path} {words}"),
            Self::Link { link, target } => write!(f, "link {link} -> {target}"),
            Self::ChangeProfile { label, stacked, .. } => match stacked {
                true => write!(f, "change_profile &{label}"),
                false => write!(f, "change_profile {label}"),
            },
            Self::Capability(number) => {
                write!(f, "capability {}", numbers::capability_name(*number))
            }
            Self::Network { family, kind, .. } => {
                let (family, kind) = (numbers::family_name(*family), numbers::type_name(*kind));
                write!(f, "network {family} {kind} ({words})")
            }
            Self::Unix(unix) => unix.fmt(f),
            Self::Signal { signal, peer, .. } => {
                let signal = numbers::signal_name(*signal);
                write!(f, "signal {signal} ({words}) peer {peer}")
            }
            Self::Ptrace { peer, .. } => write!(f, "ptrace ({words}) peer {peer}"),
            Self::Mount(call) => write!(f, "mount {}", call.target),
            Self::Umount(target) => write!(f, "umount {target}"),
            Self::PivotRoot { new, .. } => write!(f, "pivot_root {new}"),
            Self::UserNamespace => f.write_str("userns create"),
            Self::UringPoll => f.write_str("io_uring sqpoll"),
            Self::UringCredentials(label) => write!(f, "io_uring override_creds {label}"),
            Self::Dbus(message) => {
                let words = permission_names(message.permissions, &bits::DBUS);
                write!(f, "dbus ({words}) {} {}", message.bus, message.name)
            }
        }
    }
}

impl fmt::Display for UnixSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = permission_names(self.permissions, &bits::NETWORK);
        write!(f, "unix {} ({words})", numbers::type_name(self.kind))?;
        if let Some(name) = &self.name {
            write!(f, " @{name}")?;
        }
        match &self.peer {
            Some((_, label)) => write!(f, " peer {label}"),
            None => Ok(()),
        }
    }
}

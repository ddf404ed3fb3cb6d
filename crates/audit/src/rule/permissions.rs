//! Permissions, as sets.

use std::fmt;

/// What a file rule allows. `c` (create) and `d` (delete) of events are a part of `w`: rules have no
/// letters for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FilePermissions(u8);

/// Letters in the order in which rules write them.
const LETTERS: [(u8, char); 6] = [
    (FilePermissions::MAP.0, 'm'),
    (FilePermissions::READ.0, 'r'),
    (FilePermissions::WRITE.0, 'w'),
    (FilePermissions::APPEND.0, 'a'),
    (FilePermissions::LINK.0, 'l'),
    (FilePermissions::LOCK.0, 'k'),
];

impl FilePermissions {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// `r`.
    pub const READ: Self = Self(1);
    /// `w`: also creates, deletes, and changes mode and owner.
    pub const WRITE: Self = Self(2);
    /// `a`: writes at the end only.
    pub const APPEND: Self = Self(4);
    /// `k`.
    pub const LOCK: Self = Self(8);
    /// `m`: maps as code.
    pub const MAP: Self = Self(16);
    /// `l`.
    pub const LINK: Self = Self(32);
    /// All of them.
    pub const ALL: Self = Self(1 | 2 | 8 | 16 | 32);

    /// The permissions of a mask in an event (`map_mask_to_chr_mask()`, security/apparmor/file.c),
    /// without `x`, and whether it has `x`. `None` if there is a letter that is not known.
    #[must_use]
    pub fn of_mask(mask: &[u8]) -> Option<(Self, bool)> {
        let mut permissions = Self::NONE;
        let mut execute = false;
        for letter in mask {
            match letter {
                b'r' => permissions = permissions.and(Self::READ),
                b'w' | b'c' | b'd' => permissions = permissions.and(Self::WRITE),
                b'a' => permissions = permissions.and(Self::APPEND),
                b'k' => permissions = permissions.and(Self::LOCK),
                b'm' => permissions = permissions.and(Self::MAP),
                b'l' => permissions = permissions.and(Self::LINK),
                b'x' => execute = true,
                _ => return None,
            }
        }
        Some((permissions, execute))
    }

    /// The permissions of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let both = self.0 | other.0;
        // The parser refuses `aw`; `w` includes `a`.
        match both & Self::WRITE.0 {
            0 => Self(both),
            _ => Self(both & !Self::APPEND.0),
        }
    }

    /// Whether it has all of these.
    #[must_use]
    pub fn has(self, others: Self) -> bool {
        let appends = match self.0 & Self::WRITE.0 {
            0 => 0,
            _ => Self::APPEND.0,
        };
        others.0 & !(self.0 | appends) == 0
    }

    /// Whether it has any of these.
    #[must_use]
    pub fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for FilePermissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |(bit, _): &&(u8, char)| self.0 & bit != 0;
        let letters = LETTERS.iter().filter(has).map(|(_, letter)| *letter);
        f.write_str(&letters.collect::<String>())
    }
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// A permission that is a word, in rules and in masks of events.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Permission {
            $($(#[$doc])* $name,)*
        }

        impl Permission {
            const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

words! {
    /// Creates a socket or a queue.
    Create = "create",
    /// Binds a socket, or takes a name on a bus.
    Bind = "bind",
    /// Waits for connections.
    Listen = "listen",
    /// Takes a connection.
    Accept = "accept",
    /// Connects.
    Connect = "connect",
    /// Shuts a connection down.
    Shutdown = "shutdown",
    /// Reads attributes.
    GetAttributes = "getattr",
    /// Changes attributes.
    SetAttributes = "setattr",
    /// Reads an option of a socket.
    GetOption = "getopt",
    /// Sets an option of a socket.
    SetOption = "setopt",
    /// Sends.
    Send = "send",
    /// Receives.
    Receive = "receive",
    /// Listens to all messages of a bus.
    Eavesdrop = "eavesdrop",
    /// Reads the state of a process, or a queue.
    Read = "read",
    /// Writes to a queue.
    Write = "write",
    /// Controls a process.
    Trace = "trace",
    /// Its state is read.
    ReadBy = "readby",
    /// It is controlled.
    TracedBy = "tracedby",
    /// Opens a queue.
    Open = "open",
    /// Deletes a queue.
    Delete = "delete",
    /// A kernel thread polls the submissions of io_uring.
    SubmissionPoll = "sqpoll",
    /// io_uring uses the credentials of another process.
    OverrideCredentials = "override_creds",
}

/// A set of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PermissionSet(u32);

impl PermissionSet {
    /// The permissions of a mask in an event: words with blanks between them. `None` if one is not
    /// known, or there is none.
    #[must_use]
    pub fn of_mask(mask: &[u8]) -> Option<Self> {
        let words = mask.split(|byte| *byte == b' ');
        let mut set = Self::default();
        for word in words.filter(|word| !word.is_empty()) {
            let mut all = Permission::ALL.iter();
            let known = all.find(|known| known.as_str().as_bytes() == word)?;
            set = set.and([*known].into());
        }
        (set.0 != 0).then_some(set)
    }

    /// The permissions of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it has a permission.
    #[must_use]
    pub fn has(self, permission: Permission) -> bool {
        self.0 & Self::bit(permission) != 0
    }

    /// Its permissions.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        let all = Permission::ALL.iter().copied();
        all.filter(move |permission| self.has(*permission))
    }

    fn bit(permission: Permission) -> u32 {
        1_u32.checked_shl(permission as u32).unwrap_or_default()
    }
}

impl<const N: usize> From<[Permission; N]> for PermissionSet {
    fn from(permissions: [Permission; N]) -> Self {
        let bits = permissions.into_iter().map(Self::bit);
        Self(bits.fold(0, |all, bit| all | bit))
    }
}

/// As rules write it: `(send, receive)`.
impl fmt::Display for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.iter().map(Permission::as_str).collect();
        write!(f, "({})", words.join(", "))
    }
}

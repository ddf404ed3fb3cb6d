//! The bits of permissions, as the kernel answers them, and their letters and words.
//!
//! `security/apparmor/include/perms.h`, `file.h`, `net.h`, `ipc.h`, `mount.h`, `task.h`; those of
//! D-Bus are of libapparmor (`sys/apparmor.h`).

/// Runs a program.
pub(crate) const EXECUTE: u32 = 0x1;
/// Writes a file; also creates, deletes and renames it.
pub(crate) const WRITE: u32 = 0x2;
/// Reads a file.
pub(crate) const READ: u32 = 0x4;
/// Appends to a file.
pub(crate) const APPEND: u32 = 0x8;
/// Creates a file or a socket.
pub(crate) const CREATE: u32 = 0x10;
/// Deletes a file.
pub(crate) const DELETE: u32 = 0x20;
/// Locks a file. In the answer about a pair of a link and its target: the link may have no
/// permission that the target lacks (`AA_LINK_SUBSET`).
pub(crate) const LOCK: u32 = 0x8000;
pub(crate) const LINK_SUBSET: u32 = LOCK;
/// Maps a file as a program's code.
pub(crate) const MAP: u32 = 0x1_0000;
/// Makes a hard link.
pub(crate) const LINK: u32 = 0x4_0000;
/// Another answer follows if more is matched (`AA_CONT_MATCH`).
pub(crate) const CONTINUES: u32 = 0x800_0000;
/// The same for the options of a mount (`AA_MNT_CONT_MATCH`).
pub(crate) const MOUNT_CONTINUES: u32 = 0x40;
/// Changes the label at the next program.
pub(crate) const ON_EXEC: u32 = 0x2000_0000;
/// Changes the label.
pub(crate) const CHANGE_PROFILE: u32 = 0x4000_0000;

/// Sends to a socket, or a signal.
pub(crate) const SEND: u32 = 0x2;
/// Receives from a socket, or a signal.
pub(crate) const RECEIVE: u32 = 0x4;

/// Traces another process; the other three as the kernel numbers them (`include/ipc.h`).
pub(crate) const TRACE: u32 = 0x2;

pub(crate) const PIVOT_ROOT: u32 = 0x1;
pub(crate) const MOUNT: u32 = 0x2;
pub(crate) const UMOUNT: u32 = 0x4;

/// `AA_USERNS_CREATE`.
pub(crate) const USER_NAMESPACE: u32 = 0x8;
/// A thread of the kernel polls the ring.
pub(crate) const SQPOLL: u32 = CREATE;
/// A ring uses the credentials of another process.
pub(crate) const OVERRIDE_CREDENTIALS: u32 = APPEND;

/// The letters of permissions for files, in the order of `apparmor.d(5)`. `c` and `d` are written
/// only in logs; a rule grants them with `w`.
pub(crate) const FILE: [(&str, u32); 9] = [
    ("r", READ),
    ("w", WRITE),
    ("a", APPEND),
    ("c", CREATE),
    ("d", DELETE),
    ("l", LINK),
    ("k", LOCK),
    ("m", MAP),
    ("x", EXECUTE),
];

/// The words for sockets (`net_mask_names`, net.c).
pub(crate) const NETWORK: [(&str, u32); 12] = [
    ("create", CREATE),
    ("bind", 0x20_0000),
    ("listen", 0x40_0000),
    ("accept", 0x10_0000),
    ("connect", 0x40),
    ("send", SEND),
    ("receive", RECEIVE),
    ("shutdown", DELETE),
    ("getattr", 0x200),
    ("setattr", 0x100),
    ("getopt", 0x200_0000),
    ("setopt", 0x100_0000),
];

/// The words for signals.
pub(crate) const SIGNAL: [(&str, u32); 2] = [("send", SEND), ("receive", RECEIVE)];

/// The words for tracing.
pub(crate) const PTRACE: [(&str, u32); 4] = [
    ("read", READ),
    ("trace", TRACE),
    ("readby", CREATE),
    ("tracedby", APPEND),
];

/// The words for messages on a bus.
pub(crate) const DBUS: [(&str, u32); 4] = [
    ("send", SEND),
    ("receive", RECEIVE),
    ("eavesdrop", 0x20),
    ("bind", 0x40),
];

/// The bits of words that are separated by blanks or commas. `None` if a word is unknown, or if
/// there is none.
pub(crate) fn of_words(words: &str, table: &[(&str, u32)]) -> Option<u32> {
    let mut bits = 0;
    for word in words.split([' ', ',']).filter(|word| !word.is_empty()) {
        bits |= table.iter().find(|(name, _)| *name == word)?.1;
    }
    (bits != 0).then_some(bits)
}

/// The bits of letters for a file. `None` if a letter is unknown, or if there is none.
pub(crate) fn of_letters(letters: &str) -> Option<u32> {
    let mut bits = 0;
    for letter in letters.chars() {
        let mut table = FILE.iter();
        bits |= table.find(|(name, _)| name.chars().eq([letter]))?.1;
    }
    (bits != 0).then_some(bits)
}

/// The names of these bits.
pub(crate) fn names(bits: u32, table: &[(&'static str, u32)]) -> Vec<&'static str> {
    let set = table.iter().filter(|(_, bit)| bits & bit != 0);
    set.map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_words_are_bits() {
        assert_eq!(of_letters("rw"), Some(READ | WRITE));
        assert_eq!(
            of_letters("xmkladc").map(|bits| names(bits, &FILE).concat()),
            Some("acdlkmx".to_owned())
        );
        for none in ["", "q", "r w"] {
            assert_eq!(of_letters(none), None, "{none}");
        }
        assert_eq!(of_words("send receive", &NETWORK), Some(6));
        assert_eq!(of_words("read,trace", &PTRACE), Some(6));
        assert_eq!(of_words("", &NETWORK), None);
        assert_eq!(of_words("unknown", &NETWORK), None);
    }
}

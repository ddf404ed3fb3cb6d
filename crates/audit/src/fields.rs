//! The fields of a record, as typed values.
//!
//! The order in a record: `audit_pre()` (security/apparmor/audit.c), then `pid` and `comm`
//! (`dump_common_audit_data()`, security/lsm_audit.c) with the fields of the object, then those of
//! the callback of the class. A field that is not in the record is `None`.

use std::fmt;

use crate::pairs::{PairReader, Written};
use crate::text::OutsideText;
use crate::unread::Unread;

/// The address of a Unix socket (`audit_unix_addr()`, security/apparmor/net.c).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SocketAddress {
    /// It has none.
    Unnamed,
    /// A path.
    Path(OutsideText),
    /// An abstract name, without the `@`, as the kernel writes it. If the name has a byte that is not
    /// printable ASCII, these are hexadecimal digits, and there is no way to tell: `6162` is either
    /// this name or `ab`. A path that begins with `@` looks like this, too.
    Abstract(OutsideText),
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unnamed => f.write_str("none"),
            Self::Path(path) => write!(f, "{path}"),
            Self::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

macro_rules! event_fields {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $key:literal by $read:ident,)*) => {
        /// All fields of a record.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct EventFields {
            $($(#[$doc])* pub $name: Option<$type>,)*
            /// Keys that have no field above, with their values as they are written.
            pub others: Vec<(OutsideText, OutsideText)>,
        }

        impl EventFields {
            /// The fields that the record has, by their keys, as text for people; without `others`.
            #[must_use]
            pub fn texts(&self) -> Vec<(&'static str, String)> {
                let mut texts = Vec::new();
                $(if let Some(value) = &self.$name {
                    texts.push((stringify!($name), value.to_string()));
                })*
                texts
            }

            fn set(&mut self, key: &[u8], written: Written<'_>) -> Result<(), Unread> {
                match key {
                    // If a key occurs twice, the first is of `audit_pre()`; `audit_iface()`
                    // (policy_unpack.c) writes the same name again.
                    $($key => if self.$name.is_none() {
                        self.$name = $read(written)?;
                    },)*
                    _ => {
                        let (Written::Quoted(value) | Written::Bare(value)) = written;
                        self.others.push((OutsideText::new(key), OutsideText::new(value)));
                    }
                }
                Ok(())
            }
        }
    };
}

event_fields! {
    /// What was tried: `open`, `capable`, `mount` (`OP_…`, include/audit.h).
    operation: OutsideText = b"operation" by plain,
    /// The class of the rule, as it is written. Kernels before 6.2 do not write it.
    class: OutsideText = b"class" by plain,
    /// Why: `Failed name lookup - disconnected path`, `no new privs`.
    info: OutsideText = b"info" by plain,
    /// The error, as a negative number of errno(3). Only with `info`.
    error: i32 = b"error" by number,
    /// The policy namespace, if it is not the root.
    namespace: OutsideText = b"namespace" by outside,
    /// The profile whose rule decided. In a stack, that is the profile that refused.
    profile: OutsideText = b"profile" by outside,
    /// A label that is not one profile; in records of D-Bus, the label of the process.
    label: OutsideText = b"label" by outside,
    /// The object: a path, a profile, a D-Bus name.
    name: OutsideText = b"name" by outside,
    /// The process, as the initial process namespace numbers it.
    pid: u32 = b"pid" by number,
    /// The first 15 bytes of the name of its command.
    comm: OutsideText = b"comm" by outside,
    /// The other process.
    opid: u32 = b"opid" by number,
    /// The name of its command.
    ocomm: OutsideText = b"ocomm" by outside,
    /// The number of the capability.
    capability: u32 = b"capability" by number,
    /// Its name, without `CAP_`, in small letters.
    capname: OutsideText = b"capname" by plain,
    /// The local address (`print_ipv4_addr()`, security/lsm_audit.c).
    laddr: OutsideText = b"laddr" by plain,
    /// The local port.
    lport: u32 = b"lport" by number,
    /// The remote address.
    faddr: OutsideText = b"faddr" by plain,
    /// The remote port.
    fport: u32 = b"fport" by number,
    /// The source address of a packet.
    saddr: OutsideText = b"saddr" by plain,
    /// The source port of a packet.
    src: u32 = b"src" by number,
    /// The destination address of a packet.
    daddr: OutsideText = b"daddr" by plain,
    /// The destination port of a packet.
    dest: u32 = b"dest" by number,
    /// The network interface.
    netif: OutsideText = b"netif" by plain,
    /// What was asked for: letters for files, words otherwise.
    requested_mask: OutsideText = b"requested_mask" by plain,
    /// What the profile does not grant.
    denied_mask: OutsideText = b"denied_mask" by plain,
    /// The same for user namespaces (`audit_ns_cb()`, task.c) and io_uring (`audit_uring_cb()`, lsm.c).
    requested: OutsideText = b"requested" by plain,
    /// What of it the profile does not grant.
    denied: OutsideText = b"denied" by plain,
    /// The user of the process, for files.
    fsuid: u32 = b"fsuid" by user,
    /// The owner of the file.
    ouid: u32 = b"ouid" by user,
    /// The target of a link or a rename, or the label that is changed to.
    target: OutsideText = b"target" by outside,
    /// The family of a socket: `inet`, `unix`.
    family: OutsideText = b"family" by plain,
    /// Its type: `stream`.
    sock_type: OutsideText = b"sock_type" by plain,
    /// Its protocol.
    protocol: i32 = b"protocol" by number,
    /// The address of a Unix socket.
    addr: SocketAddress = b"addr" by address,
    /// The address of its peer.
    peer_addr: SocketAddress = b"peer_addr" by address,
    /// The label of the other process.
    peer: OutsideText = b"peer" by outside,
    /// The signal: `term`, `rtmin+3`, `unknown(64)`; `exists` is signal 0.
    signal: OutsideText = b"signal" by plain,
    /// The type of a file system (`audit_cb()`, mount.c).
    fstype: OutsideText = b"fstype" by outside,
    /// What is mounted.
    srcname: OutsideText = b"srcname" by outside,
    /// The profile that pivot_root(2) changes to.
    trans: OutsideText = b"trans" by outside,
    /// The flags of a mount: `rw, bind`.
    flags: OutsideText = b"flags" by plain,
    /// The options of a mount.
    options: OutsideText = b"options" by outside,
    /// The resource (`audit_cb()`, resource.c).
    rlimit: OutsideText = b"rlimit" by plain,
    /// Its new limit.
    value: u64 = b"value" by number,
    /// The program that is executed.
    execpath: OutsideText = b"execpath" by outside,
    /// The label of the credentials that io_uring would use.
    tcontext: OutsideText = b"tcontext" by outside,
    /// The label of a message queue (`audit_mqueue_cb()`).
    olabel: OutsideText = b"olabel" by outside,
    /// The namespace that policy is loaded into (`audit_iface()`, policy_unpack.c).
    ns: OutsideText = b"ns" by outside,
    /// Where in the compiled policy the fault is.
    offset: i64 = b"offset" by number,
    /// The bus: `system`, `session`. This and what follows is of D-Bus daemons.
    bus: OutsideText = b"bus" by plain,
    /// The path of an object on the bus.
    path: OutsideText = b"path" by plain,
    /// The interface.
    interface: OutsideText = b"interface" by plain,
    /// The method or signal.
    member: OutsideText = b"member" by plain,
    /// What was asked for: `send`, `receive`, `bind`.
    mask: OutsideText = b"mask" by plain,
    /// The process at the other end.
    peer_pid: u32 = b"peer_pid" by number,
    /// Its label.
    peer_label: OutsideText = b"peer_label" by plain,
}

impl EventFields {
    /// Reads the pairs behind the first one, and returns the value of that one, too.
    pub(crate) fn read(pairs: &[u8]) -> Result<(&[u8], Self), Unread> {
        let mut reader = PairReader::new(pairs);
        let mut fields = Self::default();
        let Some((b"apparmor", Written::Quoted(verdict))) = reader.next_pair()? else {
            return Err(Unread::Malformed);
        };
        while let Some((key, written)) = reader.next_pair()? {
            fields.set(key, written)?;
        }
        Ok((verdict, fields))
    }
}

/// Whether a word stands for no value: the kernel's `(null)`, and `?` of audit records.
fn is_nothing(word: &[u8]) -> bool {
    matches!(word, b"" | b"(null)" | b"?")
}

/// A text that is never written in hexadecimal digits.
fn plain(written: Written<'_>) -> Result<Option<OutsideText>, Unread> {
    Ok(match written {
        Written::Bare(word) if is_nothing(word) => None,
        Written::Quoted(text) | Written::Bare(text) => Some(OutsideText::new(text)),
    })
}

/// A text that is written in hexadecimal digits if it needs to be.
fn outside(written: Written<'_>) -> Result<Option<OutsideText>, Unread> {
    match written {
        Written::Quoted(text) => Ok(Some(OutsideText::new(text))),
        Written::Bare(word) if is_nothing(word) => Ok(None),
        // Other words are cut digits: a part of the text would be another text.
        Written::Bare(digits) => OutsideText::from_hexadecimal(digits)
            .map(Some)
            .ok_or(Unread::Malformed),
    }
}

fn address(written: Written<'_>) -> Result<Option<SocketAddress>, Unread> {
    Ok(match written {
        Written::Bare(b"none") => Some(SocketAddress::Unnamed),
        Written::Quoted([b'@', name @ ..]) => Some(SocketAddress::Abstract(OutsideText::new(name))),
        other => outside(other)?.map(SocketAddress::Path),
    })
}

fn number<T: std::str::FromStr>(written: Written<'_>) -> Result<Option<T>, Unread> {
    let (Written::Quoted(word) | Written::Bare(word)) = written;
    if is_nothing(word) {
        return Ok(None);
    }
    let text = std::str::from_utf8(word).map_err(|_| Unread::Malformed)?;
    text.parse().map(Some).map_err(|_| Unread::Malformed)
}

/// The number of a user. The kernel writes it as a signed number.
fn user(written: Written<'_>) -> Result<Option<u32>, Unread> {
    let Some(id) = number::<i64>(written)? else {
        return Ok(None);
    };
    let signed = || i32::try_from(id).map(i32::cast_unsigned);
    u32::try_from(id)
        .or_else(|_| signed())
        .map(Some)
        .map_err(|_| Unread::Malformed)
}

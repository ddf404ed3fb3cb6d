//! The numbers of socket families, types of sockets, signals, capabilities and flags of mounts, by
//! the names that AppArmor uses for them.

use oci_apparmor_audit::rule::keyword::CAPABILITIES;

/// The families of sockets (`AF_…`, include/linux/socket.h), at their numbers.
const FAMILIES: [&str; 46] = [
    "unspec",
    "unix",
    "inet",
    "ax25",
    "ipx",
    "appletalk",
    "netrom",
    "bridge",
    "atmpvc",
    "x25",
    "inet6",
    "rose",
    "decnet",
    "netbeui",
    "security",
    "key",
    "netlink",
    "packet",
    "ash",
    "econet",
    "atmsvc",
    "rds",
    "sna",
    "irda",
    "pppox",
    "wanpipe",
    "llc",
    "ib",
    "mpls",
    "can",
    "tipc",
    "bluetooth",
    "iucv",
    "rxrpc",
    "isdn",
    "phonet",
    "ieee802154",
    "caif",
    "alg",
    "nfc",
    "vsock",
    "kcm",
    "qipcrtr",
    "smc",
    "xdp",
    "mctp",
];

/// `AF_UNIX`.
pub(crate) const UNIX: u16 = 1;

/// The types of sockets (include/linux/net.h), at their numbers.
const TYPES: [&str; 11] = [
    "",
    "stream",
    "dgram",
    "raw",
    "rdm",
    "seqpacket",
    "dccp",
    "",
    "",
    "",
    "packet",
];

/// The signals, at the numbers by which AppArmor matches them (`sig_names`,
/// security/apparmor/include/sig_names.h). Those of x86 and Arm are the same up to 31.
const SIGNALS: [&str; 36] = [
    "", "hup", "int", "quit", "ill", "trap", "abrt", "bus", "fpe", "kill", "usr1", "segv", "usr2",
    "pipe", "alrm", "term", "stkflt", "chld", "cont", "stop", "stp", "ttin", "ttou", "urg", "xcpu",
    "xfsz", "vtalrm", "prof", "winch", "io", "pwr", "sys", "emt", "lost", "unused", "exists",
];

/// The number of the first real-time signal (`SIGRT_BASE`).
const REAL_TIME: u8 = 128;

/// `MS_REC`, which has no name of its own.
const RECURSIVE: u32 = 0x4000;

/// The flags of a mount, by the words of the kernel's log (`audit_mnt_flags()`, mount.c).
const MOUNT_FLAGS: [(&str, u32); 29] = [
    ("rw", 0),
    ("ro", 0x1),
    ("nosuid", 0x2),
    ("nodev", 0x4),
    ("noexec", 0x8),
    ("sync", 0x10),
    ("remount", 0x20),
    ("mand", 0x40),
    ("dirsync", 0x80),
    ("nosymfollow", 0x100),
    ("noatime", 0x400),
    ("nodiratime", 0x800),
    ("bind", 0x1000),
    ("rbind", 0x1000 | RECURSIVE),
    ("move", 0x2000),
    ("silent", 0x8000),
    ("acl", 0x1_0000),
    ("unbindable", 0x2_0000),
    ("runbindable", 0x2_0000 | RECURSIVE),
    ("private", 0x4_0000),
    ("rprivate", 0x4_0000 | RECURSIVE),
    ("slave", 0x8_0000),
    ("rslave", 0x8_0000 | RECURSIVE),
    ("shared", 0x10_0000),
    ("rshared", 0x10_0000 | RECURSIVE),
    ("relatime", 0x20_0000),
    ("iversion", 0x80_0000),
    ("strictatime", 0x100_0000),
    ("nouser", 0x8000_0000),
];

/// The number of a name in a table.
fn place<T: TryFrom<usize>>(name: &str, table: &[&str]) -> Option<T> {
    if name.is_empty() {
        return None;
    }
    T::try_from(table.iter().position(|entry| *entry == name)?).ok()
}

/// What the kernel writes for a number without a name: `unknown(45)`.
fn unknown(text: &str) -> Option<&str> {
    text.strip_prefix("unknown(")?.strip_suffix(')')
}

/// The number of a family: its name, or `unknown(N)`.
pub(crate) fn family(name: &str) -> Option<u16> {
    place(name, &FAMILIES).or_else(|| unknown(name)?.parse().ok())
}

/// The number of a type of sockets: its name, or `unknown(N)`.
pub(crate) fn socket_type(name: &str) -> Option<u16> {
    place(name, &TYPES).or_else(|| unknown(name)?.parse().ok())
}

/// The number of a protocol of sockets (include/uapi/linux/in.h); 0 if there is no text.
pub(crate) fn protocol(name: &str) -> Option<u16> {
    match name {
        "" => Some(0),
        "icmp" => Some(1),
        "tcp" => Some(6),
        "udp" => Some(17),
        number => number.parse().ok(),
    }
}

/// The number by which AppArmor matches a signal: `term`, `SIGTERM`, `15`, `rtmin+3`, `exists`.
pub(crate) fn signal(name: &str) -> Option<u8> {
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("sig").unwrap_or(&name);
    match name {
        "0" => return place("exists", &SIGNALS),
        "tstp" => return place("stp", &SIGNALS),
        "rtmin" => return Some(REAL_TIME),
        _ => {}
    }
    if let Some(above) = name.strip_prefix("rtmin+") {
        let above: u8 = above.parse().ok()?;
        return (above <= 32).then(|| REAL_TIME.saturating_add(above));
    }
    if let Ok(number) = name.parse::<u8>() {
        return (number <= 31).then_some(number);
    }
    place(name, &SIGNALS)
}

/// The number of a capability: `sys_admin` or `CAP_SYS_ADMIN`.
pub(crate) fn capability(name: &str) -> Option<u8> {
    let name = name.to_ascii_lowercase();
    place(name.strip_prefix("cap_").unwrap_or(&name), &CAPABILITIES)
}

/// The name of a capability; its number if it has none here.
pub(crate) fn capability_name(number: u8) -> String {
    let name = CAPABILITIES.get(usize::from(number));
    name.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

/// The name of the socket family; its number if it has none here.
pub(crate) fn family_name(number: u16) -> String {
    let name = FAMILIES
        .get(usize::from(number))
        .filter(|name| !name.is_empty());
    name.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

/// The name of a type of sockets; its number if it has none here.
pub(crate) fn type_name(number: u16) -> String {
    let name = TYPES
        .get(usize::from(number))
        .filter(|name| !name.is_empty());
    name.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

/// The name of a signal that AppArmor matches by this number.
pub(crate) fn signal_name(number: u8) -> String {
    let name = SIGNALS
        .get(usize::from(number))
        .filter(|name| !name.is_empty());
    match (name, number.checked_sub(REAL_TIME)) {
        (Some(name), _) => (*name).to_owned(),
        (None, Some(above)) => format!("rtmin+{above}"),
        (None, None) => number.to_string(),
    }
}

/// The flags of a mount in the words of a log: `rw, bind`.
pub(crate) fn mount_flags(words: &str) -> Option<u32> {
    let mut flags = 0;
    for word in words.split(',').map(str::trim) {
        flags |= MOUNT_FLAGS.iter().find(|(name, _)| *name == word)?.1;
    }
    Some(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_kernels_numbers() {
        for (name, number) in [
            ("unix", 1),
            ("inet", 2),
            ("inet6", 10),
            ("netlink", 16),
            ("packet", 17),
            ("vsock", 40),
            ("xdp", 44),
            ("unknown(46)", 46),
        ] {
            assert_eq!(family(name), Some(number), "{name}");
        }
        for (name, number) in [
            ("stream", 1),
            ("raw", 3),
            ("seqpacket", 5),
            ("dccp", 6),
            ("packet", 10),
        ] {
            assert_eq!(socket_type(name), Some(number), "{name}");
        }
        for (name, number) in [
            ("term", 15),
            ("SIGKILL", 9),
            ("exists", 35),
            ("0", 35),
            ("rtmin+3", 131),
            ("stp", 20),
            ("31", 31),
        ] {
            assert_eq!(signal(name), Some(number), "{name}");
        }
        for (name, number) in [
            ("chown", 0),
            ("CAP_SYS_ADMIN", 21),
            ("net_raw", 13),
            ("mac_admin", 33),
            ("bpf", 39),
            ("checkpoint_restore", 40),
        ] {
            assert_eq!(capability(name), Some(number), "{name}");
            assert!(name.to_lowercase().ends_with(&capability_name(number)));
        }
        for unknown in ["", "none", "unknown", "rtmin+99", "99"] {
            assert_eq!(family(unknown), None, "{unknown}");
            assert_eq!(socket_type(unknown), None, "{unknown}");
            assert_eq!(signal(unknown), None, "{unknown}");
            assert_eq!(capability(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn flags_of_mounts_are_read() {
        assert_eq!(mount_flags("rw, bind"), Some(0x1000));
        assert_eq!(mount_flags("ro, nosuid, rbind"), Some(0x5003));
        assert_eq!(mount_flags("rw, rslave"), Some(0x8_4000));
        assert_eq!(mount_flags("rw, other"), None);
    }
}

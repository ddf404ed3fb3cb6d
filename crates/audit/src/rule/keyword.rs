//! Words that both the kernel and apparmor_parser know. A rule with another word would not compile, and
//! with it the whole profile.

use std::fmt;

use crate::text::OutsideText;

/// A word of AppArmor's language.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Keyword(Box<str>);

impl Keyword {
    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn known(text: &OutsideText, words: &[&str]) -> Option<Self> {
        let word = text.utf8()?;
        words.contains(&word).then(|| Self(word.into()))
    }

    /// A capability, as the kernel names it: `sys_admin`.
    #[must_use]
    pub fn capability(name: &OutsideText) -> Option<Self> {
        Self::known(name, &CAPABILITIES)
    }

    /// A family of sockets: `inet`.
    #[must_use]
    pub fn family(name: &OutsideText) -> Option<Self> {
        Self::known(name, &FAMILIES)
    }

    /// A type of sockets: `stream`.
    #[must_use]
    pub fn socket_type(name: &OutsideText) -> Option<Self> {
        Self::known(name, &SOCKET_TYPES)
    }

    /// A signal: `term`, `rtmin+3`, `exists`.
    #[must_use]
    pub fn signal(name: &OutsideText) -> Option<Self> {
        let real_time = || {
            let word = name.utf8()?;
            let number: u8 = word.strip_prefix("rtmin+")?.parse().ok()?;
            (number <= 32).then(|| Self(format!("rtmin+{number}").into()))
        };
        Self::known(name, &SIGNALS).or_else(real_time)
    }

    /// A resource with a limit: `nofile`.
    #[must_use]
    pub fn resource(name: &OutsideText) -> Option<Self> {
        Self::known(name, &RESOURCES)
    }

    /// The options of a mount: `rw, bind`.
    #[must_use]
    pub fn mount_options(flags: &OutsideText) -> Option<Vec<Self>> {
        let words = flags.bytes().split(|byte| *byte == b',');
        let words = words.map(|word| OutsideText::new(word.trim_ascii()));
        words
            .map(|word| Self::known(&word, &MOUNT_OPTIONS))
            .collect()
    }

    /// A bus: `system`.
    #[must_use]
    pub fn bus(name: &OutsideText) -> Option<Self> {
        Self::known(name, &["system", "session", "accessibility"])
    }
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The capabilities, at their numbers (include/uapi/linux/capability.h).
pub const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// `address_family_names` (generated for security/apparmor/net.c), as far as apparmor_parser 3.0 knows
/// them.
const FAMILIES: [&str; 45] = [
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
    "unspec",
];

/// `sock_type_names` (security/apparmor/include/net.h); the parser has no `dccp`.
const SOCKET_TYPES: [&str; 6] = ["stream", "dgram", "raw", "rdm", "seqpacket", "packet"];

/// `sig_names` (security/apparmor/include/sig_names.h).
const SIGNALS: [&str; 35] = [
    "hup", "int", "quit", "ill", "trap", "abrt", "bus", "fpe", "kill", "usr1", "segv", "usr2",
    "pipe", "alrm", "term", "stkflt", "chld", "cont", "stop", "stp", "ttin", "ttou", "urg", "xcpu",
    "xfsz", "vtalrm", "prof", "winch", "io", "pwr", "sys", "emt", "lost", "unused", "exists",
];

/// `rlim_names` (generated for security/apparmor/resource.c).
const RESOURCES: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

/// `audit_mnt_flags()`, security/apparmor/mount.c.
const MOUNT_OPTIONS: [&str; 28] = [
    "ro",
    "rw",
    "nosuid",
    "nodev",
    "noexec",
    "sync",
    "remount",
    "mand",
    "dirsync",
    "noatime",
    "nodiratime",
    "bind",
    "rbind",
    "move",
    "silent",
    "acl",
    "unbindable",
    "runbindable",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "shared",
    "rshared",
    "relatime",
    "iversion",
    "strictatime",
    "nouser",
];

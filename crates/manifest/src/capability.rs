//! Names of capabilities.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// The capabilities of AppArmor's language, as it spells them (`capabilities(7)`, in lower case
/// and without `CAP_`).
const CAPABILITIES: [&str; 41] = [
    "audit_control",
    "audit_read",
    "audit_write",
    "block_suspend",
    "bpf",
    "checkpoint_restore",
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "ipc_lock",
    "ipc_owner",
    "kill",
    "lease",
    "linux_immutable",
    "mac_admin",
    "mac_override",
    "mknod",
    "net_admin",
    "net_bind_service",
    "net_broadcast",
    "net_raw",
    "perfmon",
    "setfcap",
    "setgid",
    "setpcap",
    "setuid",
    "sys_admin",
    "sys_boot",
    "sys_chroot",
    "sys_module",
    "sys_nice",
    "sys_pacct",
    "sys_ptrace",
    "sys_rawio",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "syslog",
    "wake_alarm",
];

/// A capability. Other spellings pass the schemas of older operators and then do not compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capability(pub(crate) &'static str);

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Spelled)
    }
}

struct Spelled;

impl Visitor<'_> for Spelled {
    type Value = Capability;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a capability, such as net_admin")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Capability, E> {
        if let Some(name) = find(text) {
            return Ok(Capability(name));
        }
        let lower = text.trim().to_ascii_lowercase();
        let found = Unexpected::Str(text);
        Err(match find(lower.strip_prefix("cap_").unwrap_or(&lower)) {
            Some(meant) => E::invalid_value(found, &meant),
            None => E::invalid_value(found, &self),
        })
    }
}

fn find(name: &str) -> Option<&'static str> {
    CAPABILITIES.into_iter().find(|known| *known == name)
}

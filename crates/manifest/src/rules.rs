//! `spec.abstract`: lists of what a profile allows.

use crate::error::{Result, quoted};
use crate::fields::{Field, Object};
use crate::path::Path;
use crate::spec::Version;

/// `spec.abstract`, checked.
#[derive(Debug, Default)]
pub(crate) struct Abstract {
    pub(crate) executables: Vec<Path>,
    pub(crate) libraries: Vec<Path>,
    pub(crate) read_only: Vec<Path>,
    pub(crate) write_only: Vec<Path>,
    pub(crate) read_write: Vec<Path>,
    pub(crate) ptrace: Vec<Ptrace>,
    pub(crate) network: Option<Network>,
    pub(crate) capabilities: Vec<&'static str>,
}

/// One ptrace rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ptrace {
    pub(crate) access: Vec<&'static str>,
    pub(crate) peer: Option<String>,
}

/// The network rules of a manifest that has any; what is not said is not allowed.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) raw: bool,
    pub(crate) tcp: bool,
    pub(crate) udp: bool,
}

const ACCESS: [&str; 4] = ["read", "readby", "trace", "tracedby"];

/// What old ptrace rules may say beside [`ACCESS`] (`apparmor.d(5)`).
const SHORT_ACCESS: [&str; 3] = ["r", "rw", "w"];

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

impl Abstract {
    /// Reads it; what is missing allows nothing.
    pub(crate) fn read(field: Option<&Field<'_>>, version: Version) -> Result<Self> {
        let mut rules = Self::default();
        let Some(field) = field else { return Ok(rules) };
        let object = field.object(match version {
            Version::V1 => &[
                "capability",
                "executable",
                "filesystem",
                "network",
                "ptrace",
            ],
            Version::V1Alpha1 => &["capability", "executable", "filesystem", "network"],
        })?;
        let mut old_ptrace = Vec::new();
        if let Some(executable) = object.get("executable") {
            let executable = executable.object(&["allowedExecutables", "allowedLibraries"])?;
            rules.executables = paths(&executable, "allowedExecutables", &mut old_ptrace)?;
            rules.libraries = paths(&executable, "allowedLibraries", &mut old_ptrace)?;
        }
        if let Some(files) = object.get("filesystem") {
            let files = files.object(&["readOnlyPaths", "readWritePaths", "writeOnlyPaths"])?;
            rules.read_only = paths(&files, "readOnlyPaths", &mut old_ptrace)?;
            rules.write_only = paths(&files, "writeOnlyPaths", &mut old_ptrace)?;
            rules.read_write = paths(&files, "readWritePaths", &mut old_ptrace)?;
        }
        if let Some(field) = object.get("ptrace") {
            rules.ptrace.push(ptrace(&field)?);
        }
        old_ptrace.sort_unstable();
        old_ptrace.dedup();
        rules
            .ptrace
            .extend(old_ptrace.into_iter().map(|access| Ptrace {
                access: vec![access],
                peer: None,
            }));
        if let Some(field) = object.get("network") {
            rules.network = Some(network(&field, version)?);
        }
        if let Some(field) = object.get("capability") {
            let object = field.object(&["allowedCapabilities"])?;
            let fields = object.list("allowedCapabilities")?;
            rules.capabilities = fields.iter().map(capability).collect::<Result<_>>()?;
        }
        Ok(rules)
    }
}

/// The paths of a list; ptrace rules among them go to `ptrace`.
fn paths(object: &Object<'_>, name: &str, ptrace: &mut Vec<&'static str>) -> Result<Vec<Path>> {
    let mut paths = Vec::new();
    for field in object.list(name)? {
        let text = field.text()?;
        match old_ptrace(text) {
            Some(access) => ptrace.push(access),
            None => {
                let refuse =
                    |why: String| field.refuse(format!("the path {}: {why}", quoted(text)));
                paths.push(Path::parse(text).map_err(refuse)?);
            }
        }
    }
    Ok(paths)
}

/// The access of `ptrace (read),  # a comment`. Before there was a field for it, the operator let
/// this pass as a "path", and its own profiles have it (`deploy/base/profiles/spo-apparmor.yaml`).
/// It is read as the rule that it is meant to be, which is what newer operators do; the comment,
/// there to swallow the mode behind a path, is dropped.
fn old_ptrace(text: &str) -> Option<&'static str> {
    let rest = text.strip_prefix("ptrace")?.trim_start_matches([' ', '\t']);
    let (access, rest) = rest.strip_prefix('(')?.split_once("),")?;
    let comment = rest.trim_start_matches([' ', '\t']);
    if !(comment.is_empty() || comment.starts_with('#')) || comment.contains(['\n', '\r', '\0']) {
        return None;
    }
    let access = access.to_ascii_lowercase();
    ACCESS
        .into_iter()
        .chain(SHORT_ACCESS)
        .find(|known| *known == access)
}

fn ptrace(field: &Field<'_>) -> Result<Ptrace> {
    let object = field.object(&["allowedAccess", "peer"])?;
    let mut access = Vec::new();
    for field in object.list("allowedAccess")? {
        let text = field.text()?;
        let known = ACCESS.into_iter().find(|known| *known == text);
        access.push(known.ok_or_else(|| {
            field.refuse(format!(
                "it is {}, not one of {}",
                quoted(text),
                ACCESS.join(", ")
            ))
        })?);
    }
    access.sort_unstable();
    access.dedup();
    if access.is_empty() {
        return Err(field.refuse("it has no allowedAccess"));
    }
    let peer = object.get("peer").map(|field| peer(&field)).transpose()?;
    Ok(Ptrace { access, peer })
}

/// The peer of a ptrace rule, by the operator's own pattern.
fn peer(field: &Field<'_>) -> Result<String> {
    let text = field.text()?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_./*?-".contains(&b);
    let plain = text.replace("@{profile_name}", "x");
    match !plain.is_empty() && plain.bytes().all(allowed) && text.len() <= 256 {
        true => Ok(text.to_owned()),
        false => Err(field.refuse(format!(
            "{} is not made of letters, digits, '_', '.', '/', '-', '*', '?' and @{{profile_name}}",
            quoted(text)
        ))),
    }
}

fn network(field: &Field<'_>, version: Version) -> Result<Network> {
    let object = field.object(&["allowRaw", "allowedProtocols"])?;
    let mut network = Network {
        raw: object.flag("allowRaw")?.unwrap_or_default(),
        ..Network::default()
    };
    if let Some(field) = object.get("allowedProtocols") {
        // The first operators spelled them allowTCP and allowUDP.
        let protocols = field.object(match version {
            Version::V1 => &["allowTcp", "allowUdp"],
            Version::V1Alpha1 => &["allowTcp", "allowUdp", "allowTCP", "allowUDP"],
        })?;
        let either = |new: &str, old: &str| match (protocols.flag(new)?, protocols.flag(old)?) {
            (Some(_), Some(_)) => Err(field.refuse(format!("it has both {new} and {old}"))),
            (new, old) => Ok(new.or(old).unwrap_or_default()),
        };
        network.tcp = either("allowTcp", "allowTCP")?;
        network.udp = either("allowUdp", "allowUDP")?;
    }
    Ok(network)
}

/// A capability, spelled as AppArmor spells it: other spellings pass the operator's older schemas
/// and then do not compile.
fn capability(field: &Field<'_>) -> Result<&'static str> {
    let text = field.text()?;
    let find = |name: &str| CAPABILITIES.into_iter().find(|known| *known == name);
    if let Some(known) = find(text) {
        return Ok(known);
    }
    let why = format!("{} is no capability of AppArmor's language", quoted(text));
    let lower = text.trim().to_ascii_lowercase();
    let meant = find(lower.strip_prefix("cap_").unwrap_or(&lower));
    let refused = field.refuse(why);
    Err(match meant {
        Some(meant) => refused.with_remedy(format!("write {meant}")),
        None => refused,
    })
}

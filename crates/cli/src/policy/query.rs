//! The bytes that the kernel matches for an access, and what its answers mean. Pure: the caller asks.
//!
//! Each byte string begins with the number of its class (`AA_CLASS_…`,
//! security/apparmor/include/apparmor.h). What follows is cited at each class.

use crate::policy::bits;
use crate::policy::numbers;
use crate::policy::question::{BusMessage, MountCall, Question, UnixSocket};
use oci_apparmor::apparmor::kernel::Permissions;
use oci_apparmor::error::Result;
use oci_apparmor_audit::text::OutsideText;

const CLASS_FILE: u8 = 2;
const CLASS_CAPABILITY: u8 = 3;
const CLASS_MOUNT: u8 = 7;
const CLASS_PTRACE: u8 = 9;
const CLASS_SIGNAL: u8 = 10;
const CLASS_NETWORK: u8 = 14;
const CLASS_NETWORK_V9: u8 = 15;
const CLASS_LABEL: u8 = 16;
const CLASS_NAMESPACE: u8 = 21;
const CLASS_IO_URING: u8 = 22;
const CLASS_DBUS: u8 = 32;

/// What differs between kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Dialect {
    /// Network rules of the class 15 (features `network_v9`), if the profile has them.
    pub network_v9: bool,
}

impl Dialect {
    /// The class of these rules.
    pub(crate) const NETWORK_V9: u8 = CLASS_NETWORK_V9;
}

/// What the rules of a profile say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// They allow it.
    Allowed,
    /// They do not.
    Denied {
        /// The permissions that are missing.
        missing: u32,
        /// Whether all of these are refused without a log entry.
        quiet: bool,
    },
    /// The kernel's answer does not tell; contains the reason.
    Unclear(&'static str),
}

/// Something that is asked about a query.
pub(crate) type Asker<'a> = &'a mut dyn FnMut(&[u8]) -> Result<Permissions>;

impl Question {
    /// The class of its rules.
    pub(crate) fn class(&self, dialect: Dialect) -> u8 {
        match self {
            Self::File { .. } | Self::Link { .. } | Self::ChangeProfile { .. } => CLASS_FILE,
            Self::Capability(_) => CLASS_CAPABILITY,
            Self::Network { .. } | Self::Unix(_) if dialect.network_v9 => CLASS_NETWORK_V9,
            Self::Network { .. } | Self::Unix(_) => CLASS_NETWORK,
            Self::Signal { .. } => CLASS_SIGNAL,
            Self::Ptrace { .. } => CLASS_PTRACE,
            Self::Mount(_) | Self::Umount(_) | Self::PivotRoot { .. } => CLASS_MOUNT,
            Self::UserNamespace => CLASS_NAMESPACE,
            Self::UringPoll | Self::UringCredentials(_) => CLASS_IO_URING,
            Self::Dbus(_) => CLASS_DBUS,
        }
    }

    /// What the profile says that `ask` asks.
    ///
    /// # Errors
    /// Those of `ask`.
    pub(crate) fn ruling(&self, dialect: Dialect, ask: Asker<'_>) -> Result<Ruling> {
        let class = self.class(dialect);
        match self {
            // `profile_path_perm()` and `profile_transition()`: the path alone.
            Self::File { path, permissions } => {
                simple(ask, &[&[class], path.bytes()], *permissions)
            }
            Self::Link { link, target } => linked(ask, link, target),
            // `change_profile_perms()`, domain.c: the label is matched by the rules for files.
            Self::ChangeProfile {
                label,
                on_exec,
                stacked,
            } => {
                let stack: &[u8] = if *stacked { b"&" } else { b"" };
                let permission = match on_exec {
                    true => bits::ON_EXEC,
                    false => bits::CHANGE_PROFILE,
                };
                peers(ask, &[&[class], stack].concat(), label, permission)
            }
            // `profile_capable()`, capability.c, since 7.0: 32 capabilities for each state.
            Self::Capability(number) => {
                let bit = 1_u32.checked_shl(u32::from(number & 31)).unwrap_or(0);
                simple(ask, &[&[class, number >> 5]], bit)
            }
            Self::Network {
                family,
                kind,
                protocol,
                permissions,
            } => socket(ask, dialect, [*family, *kind, *protocol], *permissions),
            Self::Unix(unix) => unix.ruling(dialect, ask),
            // `profile_signal_perm()`, ipc.c.
            Self::Signal {
                signal,
                permissions,
                peer,
            } => peers(ask, &[class, *signal], peer, *permissions),
            // `profile_ptrace_perm()` matches by `aa_profile_match_label()`, lib.c: the class of
            // labels, then that of ptrace.
            Self::Ptrace { permissions, peer } => {
                peers(ask, &[CLASS_LABEL, class], peer, *permissions)
            }
            Self::Mount(call) => call.ruling(ask),
            // `profile_umount()`, mount.c.
            Self::Umount(target) => simple(ask, &[&[class], target.bytes()], bits::UMOUNT),
            // `build_pivotroot()`, mount.c: the new root comes first.
            Self::PivotRoot { new, old } => {
                let parts = [&[class], new.bytes(), b"\0", old.bytes()];
                simple(ask, &parts, bits::PIVOT_ROOT)
            }
            // `aa_profile_ns_perm()`, task.c: the class alone.
            Self::UserNamespace => simple(ask, &[&[class]], bits::USER_NAMESPACE),
            // `profile_uring()`, lsm.c.
            Self::UringPoll => simple(ask, &[&[class]], bits::SQPOLL),
            Self::UringCredentials(label) => {
                peers(ask, &[class], label, bits::OVERRIDE_CREDENTIALS)
            }
            Self::Dbus(message) => message.ruling(ask),
        }
    }
}

/// Asks about one state.
fn simple(ask: Asker<'_>, parts: &[&[u8]], permissions: u32) -> Result<Ruling> {
    Ok(judged(ask(&parts.concat())?, permissions))
}

/// What permissions say about those that are needed (`aa_check_perms()`, lib.c).
fn judged(granted: Permissions, needed: u32) -> Ruling {
    match needed & !granted.allow {
        0 => Ruling::Allowed,
        missing => Ruling::Denied {
            missing,
            quiet: missing & !granted.quiet == 0,
        },
    }
}

/// Asks about another label (`aa_label_match()`, label.c): as a whole, and if it is a stack, each of
/// its components alone.
fn peers(ask: Asker<'_>, before: &[u8], label: &OutsideText, needed: u32) -> Result<Ruling> {
    const STACK: &[u8] = b"//&";
    let bytes = label.bytes();
    if bytes.starts_with(b":") || bytes.windows(4).any(|part| part == b"//&:") {
        return Ok(Ruling::Unclear(
            "the label of the other process is in another policy namespace",
        ));
    }
    let whole = simple(ask, &[before, bytes], needed)?;
    let is_stack = bytes.windows(STACK.len()).any(|part| part == STACK);
    if whole == Ruling::Allowed || !is_stack {
        return Ok(whole);
    }
    for component in split(bytes, STACK) {
        match simple(ask, &[before, component], needed)? {
            Ruling::Allowed => {}
            other => return Ok(other),
        }
    }
    Ok(Ruling::Allowed)
}

fn split<'b>(bytes: &'b [u8], separator: &[u8]) -> Vec<&'b [u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    let next = |rest: &[u8]| rest.windows(separator.len()).position(|w| w == separator);
    while let Some((part, after)) = next(rest).and_then(|at| rest.split_at_checked(at)) {
        parts.push(part);
        rest = after.get(separator.len()..).unwrap_or_default();
    }
    parts.push(rest);
    parts
}

/// `profile_path_link()`, file.c: the link, the pair of both, and if the pair says so, that the link
/// has no permission that its target lacks.
fn linked(ask: Asker<'_>, link: &OutsideText, target: &OutsideText) -> Result<Ruling> {
    /// `AA_AUDIT_FILE_MASK`: what is compared, besides the permission to link.
    const COMPARED: u32 = bits::READ
        | bits::WRITE
        | bits::EXECUTE
        | bits::APPEND
        | bits::CREATE
        | bits::DELETE
        | bits::MAP
        | bits::LOCK;
    let class = [CLASS_FILE];
    let of_link = ask(&[&class, link.bytes()].concat())?;
    let of_pair = ask(&[&class, link.bytes(), b"\0", target.bytes()].concat())?;
    let quiet = of_pair.quiet & bits::LINK != 0;
    let denied = Ok(Ruling::Denied {
        missing: bits::LINK,
        quiet,
    });
    if of_link.allow & of_pair.allow & bits::LINK == 0 {
        return denied;
    }
    if of_pair.allow & bits::LINK_SUBSET == 0 {
        return Ok(Ruling::Allowed);
    }
    let of_target = ask(&[&class, target.bytes()].concat())?;
    match of_link.allow & COMPARED & !of_target.allow {
        0 if of_link.allow & bits::EXECUTE == 0 => Ok(Ruling::Allowed),
        0 => Ok(Ruling::Unclear(
            "the link may be executed, and the kernel compares how the link and its target are \
             executed",
        )),
        missing => Ok(Ruling::Denied {
            missing,
            quiet: missing & !of_pair.quiet == 0,
        }),
    }
}

/// `aa_profile_af_perm()`, net.c: the family and the type, and since 6.17 (class 15) the protocol if
/// more can follow (`aa_match_to_prot()`).
fn socket(ask: Asker<'_>, dialect: Dialect, numbers: [u16; 3], needed: u32) -> Result<Ruling> {
    let [family, kind, protocol] = numbers.map(u16::to_be_bytes);
    if !dialect.network_v9 {
        return simple(ask, &[&[CLASS_NETWORK], &family, &kind], needed);
    }
    let early = ask(&[&[CLASS_NETWORK_V9], &family[..], &kind].concat())?;
    if needed & !early.allow == 0 || early.allow & bits::CONTINUES == 0 {
        return Ok(judged(early, needed));
    }
    simple(
        ask,
        &[&[CLASS_NETWORK_V9], &family, &kind, &protocol],
        needed,
    )
}

impl UnixSocket {
    /// `security/apparmor/af_unix.c`: type, protocol, own address and label, then the peer's.
    fn ruling(&self, dialect: Dialect, ask: Asker<'_>) -> Result<Ruling> {
        /// `CMD_ADDR`.
        const PEER: &[u8] = b"\x01";
        if !dialect.network_v9 {
            let numbers = [numbers::UNIX, self.kind, self.protocol];
            return socket(ask, dialect, numbers, self.permissions);
        }
        let [family, kind, protocol] =
            [numbers::UNIX, self.kind, self.protocol].map(u16::to_be_bytes);
        let mut query = [&[CLASS_NETWORK_V9], &family[..], &kind, &protocol].concat();
        // `profile_create_perm()`: the address does not exist yet.
        if self.permissions != bits::CREATE {
            add_address(&mut query, self.name.as_ref());
            query.push(0);
        }
        match &self.peer {
            None => simple(ask, &[&query], self.permissions),
            Some((name, label)) => {
                query.extend(PEER);
                add_address(&mut query, name.as_ref());
                peers(ask, &query, label, self.permissions)
            }
        }
    }
}

/// `match_addr()`, af_unix.c: an abstract name with its NUL, or `\x01` for no address.
fn add_address(query: &mut Vec<u8>, name: Option<&OutsideText>) {
    match name {
        Some(name) => {
            query.push(0);
            query.extend(name.bytes());
        }
        None => query.push(1),
    }
    query.push(0);
}

impl MountCall {
    /// `do_match_mnt()`, mount.c: target, source, type, each flag as a byte, and the options if more
    /// can follow.
    fn ruling(&self, ask: Asker<'_>) -> Result<Ruling> {
        let optional = |text: &Option<OutsideText>| {
            let bytes = text.as_ref().map(|text| text.bytes().to_vec());
            bytes.unwrap_or_default()
        };
        let mut query = vec![CLASS_MOUNT];
        query.extend(self.target.bytes());
        query.push(0);
        query.extend(optional(&self.source));
        query.push(0);
        query.extend(optional(&self.fstype));
        query.push(0);
        let set =
            (0..32_u8).filter(|bit| self.flags.checked_shr(u32::from(*bit)).unwrap_or(0) & 1 == 1);
        query.extend(set.map(|bit| bit.saturating_add(1)));
        let granted = ask(&query)?;
        match &self.data {
            Some(data)
                if granted.allow & (bits::MOUNT | bits::MOUNT_CONTINUES)
                    == bits::MOUNT_CONTINUES =>
            {
                simple(ask, &[&query, b"\0", data.bytes()], bits::MOUNT)
            }
            _ => Ok(judged(granted, bits::MOUNT)),
        }
    }
}

impl BusMessage {
    /// The queries of dbus-daemon (bus/apparmor.c).
    fn ruling(&self, ask: Asker<'_>) -> Result<Ruling> {
        let mut query = vec![CLASS_DBUS];
        query.extend(self.bus.bytes());
        let [.., (_, eavesdrop), (_, bind)] = bits::DBUS;
        let more: &[&OutsideText] = match self.permissions {
            permissions if permissions == eavesdrop => &[],
            permissions if permissions == bind => &[&self.name],
            _ => &[
                &self.name,
                &self.peer,
                &self.path,
                &self.interface,
                &self.member,
            ],
        };
        for text in more {
            query.push(0);
            query.extend(text.bytes());
        }
        simple(ask, &[&query], self.permissions)
    }
}

#[cfg(test)]
mod tests;

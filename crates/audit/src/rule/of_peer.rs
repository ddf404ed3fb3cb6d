//! Sockets, signals and ptrace(2).

use std::collections::BTreeSet;

use crate::event::Event;
use crate::fields::SocketAddress;
use crate::rule::PolicyRule;
use crate::rule::keyword::Keyword;
use crate::rule::kinds::{NetworkRule, PtraceAccess, SignalRule, UnixAddress, UnixRule};
use crate::rule::learnt::Reason;
use crate::rule::lineage::folded;
use crate::rule::pattern::NamePattern;
use crate::rule::permissions::{Permission, PermissionSet};
use crate::text::OutsideText;

fn permissions(event: &Event) -> Result<PermissionSet, Reason> {
    let mask = event.denied().ok_or(Reason::Incomplete)?;
    PermissionSet::of_mask(mask.bytes()).ok_or(Reason::Unknown)
}

fn peer(event: &Event) -> Option<NamePattern> {
    let peer = event.fields.peer.as_ref()?;
    Some(NamePattern::exactly(folded(peer).bytes()))
}

/// The rule that a signal teaches.
pub(super) fn signal(event: &Event) -> Result<PolicyRule, Reason> {
    let signal = event.fields.signal.as_ref().ok_or(Reason::Incomplete)?;
    let signal = Keyword::signal(signal).ok_or(Reason::Unknown)?;
    Ok(PolicyRule::Signal(SignalRule {
        permissions: permissions(event)?,
        signals: BTreeSet::from([signal]),
        peer: peer(event).ok_or(Reason::Incomplete)?,
    }))
}

/// The rule that an access with ptrace(2), or to the files of a process that need it, teaches.
pub(super) fn ptrace(event: &Event) -> Result<PolicyRule, Reason> {
    Ok(PolicyRule::Ptrace(PtraceAccess {
        permissions: permissions(event)?,
        peer: peer(event).ok_or(Reason::Incomplete)?,
    }))
}

/// The rule that an event of sockets teaches.
///
/// Rules for the family and the type are all that kernels before 7.x know, and apparmor_parser writes
/// nothing finer for other families than `unix`.
pub(super) fn socket(event: &Event) -> Result<PolicyRule, Reason> {
    let fields = &event.fields;
    let family = fields.family.as_ref().ok_or(Reason::Incomplete)?;
    let family = Keyword::family(family).ok_or(Reason::Unknown)?;
    let socket_type = match &fields.sock_type {
        Some(name) => Some(Keyword::socket_type(name).ok_or(Reason::Unknown)?),
        None => None,
    };
    let is_unix = family.as_str() == "unix";
    let has_address = fields.addr.is_some() || fields.peer_addr.is_some() || fields.peer.is_some();
    if !is_unix || !has_address {
        return Ok(PolicyRule::Network(NetworkRule {
            family,
            socket_type,
        }));
    }
    let permissions = permissions(event)?;
    // The parser refuses a peer in rules for what is done with the own socket.
    let has_peer = permissions.iter().all(|permission| {
        matches!(
            permission,
            Permission::Send | Permission::Receive | Permission::Connect | Permission::Accept
        )
    });
    Ok(PolicyRule::Unix(UnixRule {
        permissions,
        socket_type,
        address: address(fields.addr.as_ref()),
        peer_address: address(fields.peer_addr.as_ref()).filter(|_| has_peer),
        peer: peer(event).filter(|_| has_peer),
    }))
}

/// Sockets with a path are allowed by file rules, so the rule has no address of them.
fn address(address: Option<&SocketAddress>) -> Option<UnixAddress> {
    Some(match address? {
        SocketAddress::Unnamed => UnixAddress::Unnamed,
        SocketAddress::Path(_) => return None,
        SocketAddress::Abstract(written) => {
            UnixAddress::Abstract(NamePattern::exactly(abstract_name(written).bytes()))
        }
    })
}

/// The kernel writes hexadecimal digits if the name has a byte that is not printable ASCII, a blank or
/// a quote. So digits that stand for such a byte are taken for it, and all others for themselves.
fn abstract_name(written: &OutsideText) -> OutsideText {
    let needs_digits = |byte: &u8| !(0x21..=0x7e).contains(byte) || *byte == b'"';
    let capital = |byte: &u8| !byte.is_ascii_lowercase();
    OutsideText::from_hexadecimal(written.bytes())
        .filter(|_| written.bytes().iter().all(capital))
        .filter(|name| name.bytes().iter().any(needs_digits))
        .unwrap_or_else(|| written.clone())
}

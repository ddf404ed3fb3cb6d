//! The question whose answer decided an event.

use crate::policy::bits;
use crate::policy::numbers;
use crate::policy::question::{BusMessage, MountCall, Question, UnixSocket};
use oci_apparmor_audit::class::EventClass;
use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::fields::{EventFields, SocketAddress};
use oci_apparmor_audit::text::OutsideText;

impl Question {
    /// The question that asks for all that an event's access needs. `None` if the event does not say
    /// all of it, or if the kernel can only answer by the access itself (resource limits, hats,
    /// message queues, names that could not be looked up).
    pub(crate) fn of(event: &Event) -> Option<Self> {
        let fields = &event.fields;
        // A path outside of the root directory is not what a rule matches.
        let info = fields.info.as_ref().map(|text| text.bytes());
        if info.is_some_and(|info| info.starts_with(b"Failed name lookup")) {
            return None;
        }
        match event.class() {
            EventClass::File => of_file(fields),
            EventClass::Capability => u8::try_from(fields.capability?).ok().map(Self::Capability),
            EventClass::Network => of_socket(fields),
            EventClass::Signal => Some(Self::Signal {
                signal: numbers::signal(fields.signal.as_ref()?.utf8()?)?,
                permissions: words(fields.requested_mask.as_ref(), &bits::SIGNAL)?,
                peer: fields.peer.clone()?,
            }),
            EventClass::Ptrace => Some(Self::Ptrace {
                permissions: words(fields.requested_mask.as_ref(), &bits::PTRACE)?,
                peer: fields.peer.clone()?,
            }),
            EventClass::Mount => of_mount(fields),
            EventClass::Namespace => Some(Self::UserNamespace),
            EventClass::IoUring => match &fields.tcontext {
                Some(label) => Some(Self::UringCredentials(label.clone())),
                None => Some(Self::UringPoll),
            },
            EventClass::Dbus => of_dbus(fields),
            EventClass::MessageQueue
            | EventClass::ResourceLimit
            | EventClass::Policy
            | EventClass::Unknown => None,
        }
    }
}

fn words(text: Option<&OutsideText>, table: &[(&str, u32)]) -> Option<u32> {
    bits::of_words(text?.utf8()?, table)
}

/// `aa_audit_file()`, file.c, and the changes of labels in domain.c.
fn of_file(fields: &EventFields) -> Option<Question> {
    let name = fields.name.clone();
    let operation = fields.operation.as_ref()?.utf8()?;
    match operation {
        "change_hat" | "change_hatv" => return None,
        "change_profile" | "change_onexec" | "stack" | "stack_onexec" => {
            return Some(Question::ChangeProfile {
                label: fields.target.clone().or(name)?,
                on_exec: operation.ends_with("onexec"),
                stacked: operation.starts_with("stack"),
            });
        }
        "link" => {
            return Some(Question::Link {
                link: name?,
                target: fields.target.clone()?,
            });
        }
        _ => {}
    }
    Some(Question::File {
        path: name?,
        permissions: bits::of_letters(fields.requested_mask.as_ref()?.utf8()?)?,
    })
}

/// `audit_net_cb()`, net.c.
fn of_socket(fields: &EventFields) -> Option<Question> {
    let family = numbers::family(fields.family.as_ref()?.utf8()?)?;
    let kind = numbers::socket_type(fields.sock_type.as_ref()?.utf8()?)?;
    let protocol = u16::try_from(fields.protocol.unwrap_or(0)).ok()?;
    let mask = fields.requested_mask.as_ref().or(fields.requested.as_ref());
    let permissions = words(mask, &bits::NETWORK)?;
    // Kernels before 6.17 write neither address.
    if family != numbers::UNIX || (fields.addr.is_none() && fields.peer_addr.is_none()) {
        return Some(Question::Network {
            family,
            kind,
            protocol,
            permissions,
        });
    }
    let peer = match &fields.peer {
        Some(label) => Some((abstract_name(fields.peer_addr.as_ref())?, label.clone())),
        None => None,
    };
    Some(Question::Unix(UnixSocket {
        kind,
        protocol,
        permissions,
        name: abstract_name(fields.addr.as_ref())?,
        peer,
    }))
}

/// The abstract name of an address, if it has one. `None` if rules for files decide about it, or if
/// the name may be written in hexadecimal digits.
fn abstract_name(address: Option<&SocketAddress>) -> Option<Option<OutsideText>> {
    match address {
        None | Some(SocketAddress::Unnamed) => Some(None),
        Some(SocketAddress::Path(_)) => None,
        Some(SocketAddress::Abstract(name)) => {
            let is_digits = name.bytes().iter().all(u8::is_ascii_hexdigit);
            (!is_digits || name.bytes().len() % 2 == 1).then(|| Some(name.clone()))
        }
    }
}

/// `audit_cb()`, mount.c. Of the flags, `lazytime` is not logged.
fn of_mount(fields: &EventFields) -> Option<Question> {
    let name = fields.name.clone()?;
    Some(match fields.operation.as_ref()?.utf8()? {
        "umount" => Question::Umount(name),
        "pivotroot" => Question::PivotRoot {
            new: name,
            old: fields.srcname.clone()?,
        },
        _ => Question::Mount(MountCall {
            target: name,
            source: fields.srcname.clone(),
            fstype: fields.fstype.clone(),
            flags: match &fields.flags {
                Some(flags) => numbers::mount_flags(flags.utf8()?)?,
                None => 0,
            },
            data: fields.options.clone(),
        }),
    })
}

fn of_dbus(fields: &EventFields) -> Option<Question> {
    let text = |text: &Option<OutsideText>| text.clone().unwrap_or_default();
    Some(Question::Dbus(BusMessage {
        permissions: words(fields.mask.as_ref(), &bits::DBUS)?,
        bus: fields.bus.clone()?,
        name: text(&fields.name),
        peer: text(&fields.peer_label),
        path: text(&fields.path),
        interface: text(&fields.interface),
        member: text(&fields.member),
    }))
}

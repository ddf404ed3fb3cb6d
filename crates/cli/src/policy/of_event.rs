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

#[cfg(test)]
mod tests {
    use super::*;

    /// The question of a record of the kernel.
    fn of(pairs: &str) -> Option<Question> {
        let record =
            format!("audit: type=1400 audit(1795342738.894:7): apparmor=\"DENIED\" {pairs}");
        Question::of(&Event::parse(record.as_bytes()).unwrap())
    }

    /// What it asks, in words.
    fn words(pairs: &str) -> String {
        of(pairs).map_or_else(|| "none".to_owned(), |question| question.to_string())
    }

    #[test]
    fn each_kind_of_event_is_a_question() {
        for (pairs, expected) in [
            (
                r#"operation="open" class="file" profile="web" name="/etc/a" pid=1 comm="x" requested_mask="wrc" denied_mask="c" fsuid=0 ouid=0"#,
                "/etc/a rwc",
            ),
            (
                r#"operation="exec" profile="web" name=2F6120FF pid=1 comm="x" requested_mask="x" denied_mask="x" fsuid=0 ouid=0"#,
                r"/a \xff x",
            ),
            (
                r#"operation="link" profile="web" name="/l" pid=1 comm="ln" requested_mask="l" denied_mask="l" fsuid=0 ouid=0 target="/t""#,
                "link /l -> /t",
            ),
            (
                r#"operation="change_onexec" info="no new privs" error=-1 profile="web" name="other" pid=1 comm="x""#,
                "change_profile other",
            ),
            (
                r#"operation="capable" profile="web" pid=1 comm="x" capability=21  capname="sys_admin""#,
                "capability sys_admin",
            ),
            (
                r#"operation="create" profile="web" pid=1 comm="x" family="inet" sock_type="stream" protocol=6 requested_mask="create" denied_mask="create""#,
                "network inet stream (create)",
            ),
            (
                r#"operation="signal" profile="web" pid=1 comm="x" requested_mask="send" denied_mask="send" signal=rtmin+3 peer="a//&b""#,
                "signal rtmin+3 (send) peer a//&b",
            ),
            (
                r#"operation="ptrace" profile="web" pid=1 comm="x" requested_mask="readby" denied_mask="readby" peer="a""#,
                "ptrace (readby) peer a",
            ),
            (
                r#"operation="mount" info="failed flags match" error=-13 profile="web" name="/mnt/" pid=1 comm="mount" fstype="tmpfs" srcname="tmpfs" flags="rw, nosuid""#,
                "mount /mnt/",
            ),
            (
                r#"operation="umount" profile="web" name="/mnt/" pid=1 comm="umount""#,
                "umount /mnt/",
            ),
            (
                r#"operation="pivotroot" profile="web" name="/new/" pid=1 comm="x" srcname="/new/old/""#,
                "pivot_root /new/",
            ),
            (
                r#"operation="userns_create" class="namespace" profile="web" pid=1 comm="x" requested="userns_create" denied="userns_create""#,
                "userns create",
            ),
            (
                r#"operation="uring_sqpoll" class="io_uring" profile="web" pid=1 comm="x" requested="sqpoll" denied="sqpoll""#,
                "io_uring sqpoll",
            ),
        ] {
            assert_eq!(words(pairs), expected, "{pairs}");
        }
        let mount = r#"operation="mount" profile="web" name="/mnt/" pid=1 comm="mount" fstype="tmpfs" srcname="none" flags="ro, nosuid, rbind""#;
        let Some(Question::Mount(call)) = of(mount) else {
            panic!();
        };
        assert_eq!(call.flags, 0x5003);
        assert_eq!(call.source, Some(OutsideText::new(&b"none"[..])));
    }

    #[test]
    fn what_the_kernel_cannot_be_asked_is_no_question() {
        for pairs in [
            r#"operation="open" info="Failed name lookup - disconnected path" error=-13 profile="web" name="a/b" pid=1 comm="x" requested_mask="r" denied_mask="r""#,
            r#"operation="change_hat" profile="web" name="hat" pid=1 comm="x""#,
            r#"operation="setrlimit" profile="web" pid=1 comm="x" rlimit=nofile value=9"#,
            r#"operation="open" profile="web" name="/x" pid=1 comm="x" requested_mask="?" denied_mask="?""#,
            r#"operation="open" class="posix_mqueue" profile="web" name="/x" pid=1 comm="x" requested="read" denied="read""#,
            // 6162 may be `ab`.
            r#"operation="bind" profile="web" pid=1 comm="x" family="unix" sock_type="stream" protocol=0 requested_mask="bind" denied_mask="bind" addr="@6162""#,
        ] {
            assert_eq!(words(pairs), "none", "{pairs}");
        }
    }
}

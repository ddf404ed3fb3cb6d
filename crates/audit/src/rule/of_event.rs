//! From an event to what it teaches.

use crate::class::EventClass;
use crate::event::Event;
use crate::fields::EventFields;
use crate::rule::PolicyRule;
use crate::rule::keyword::Keyword;
use crate::rule::kinds::{DbusRule, IoUringRule, QueueRule, ResourceLimitRule};
use crate::rule::learnt::{Learnt, ProfileFlag, Reason};
use crate::rule::lineage::folded;
use crate::rule::of_file;
use crate::rule::of_mount;
use crate::rule::of_peer;
use crate::rule::pattern::NamePattern;
use crate::rule::permissions::{Permission, PermissionSet};
use crate::text::OutsideText;
use crate::verdict::Verdict;

/// Whether a process is named as low-level runtimes name the one that becomes the container, before it
/// executes the program of the container. A program that takes such a name teaches nothing, which is
/// counted; so does an engine that runs in a container.
fn is_runtime(comm: &[u8]) -> bool {
    // libcontainer/nsenter of runc; youki's `process` crate; crun keeps its name.
    comm.starts_with(b"runc:[") || comm.starts_with(b"youki:[") || comm == b"crun"
}

impl Learnt {
    /// What an event teaches. The rule allows exactly the access of the event.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        of_event(event).unwrap_or_else(Self::Nothing)
    }
}

fn of_event(event: &Event) -> Result<Learnt, Reason> {
    let fields = &event.fields;
    match event.verdict {
        Verdict::Denied | Verdict::Allowed | Verdict::Killed => {}
        Verdict::Audited | Verdict::Status | Verdict::Hint | Verdict::Error => {
            return Err(Reason::NotRefused);
        }
    }
    let comm = fields.comm.as_ref().map_or(&[][..], OutsideText::bytes);
    if !event.from_program && is_runtime(comm) {
        return Err(Reason::Runtime);
    }
    let info = fields.info.as_ref().map_or(&[][..], OutsideText::bytes);
    let says = |part: &[u8]| info.windows(part.len()).any(|at| at == part);
    // security/apparmor/domain.c and capability.c
    if says(b"no new privs") {
        return Err(Reason::NoNewPrivileges);
    }
    if says(b"optional: no audit") {
        return Err(Reason::Probe);
    }
    if says(b"not found") {
        return Err(Reason::MissingProfile);
    }
    // `aa_path_name()` (security/apparmor/path.c) leaves out the slash of a disconnected path, which
    // the name has with the flag.
    if says(b"disconnected path") {
        let flag = ProfileFlag::AttachDisconnected;
        return Ok(Learnt::Flag(flag, of_file::attached(event).ok()));
    }
    if says(b"deleted entry") {
        let flag = ProfileFlag::MediateDeleted;
        return Ok(Learnt::Flag(flag, of_file::rule(event).ok()));
    }
    if says(b"Failed name lookup") {
        return Err(Reason::NoName);
    }
    let rule = match event.class() {
        EventClass::File => of_file::rule(event),
        EventClass::Mount => of_mount::rule(fields),
        EventClass::Network => of_peer::socket(event),
        EventClass::Signal => of_peer::signal(event),
        EventClass::Ptrace => of_peer::ptrace(event),
        EventClass::Capability => {
            keyword(fields.capname.as_ref(), Keyword::capability).map(PolicyRule::Capability)
        }
        EventClass::Namespace => Ok(PolicyRule::Userns),
        EventClass::MessageQueue => queue(event),
        EventClass::IoUring => Ok(PolicyRule::IoUring(IoUringRule {
            permissions: permissions(event)?,
            label: fields.tcontext.as_ref().map(label),
        })),
        EventClass::ResourceLimit => limit(fields),
        EventClass::Dbus => dbus(event),
        EventClass::Policy => Err(Reason::NotRefused),
        EventClass::Unknown => Err(Reason::Unknown),
    };
    rule.map(Learnt::Rule)
}

pub(super) fn needed<T>(field: Option<&T>) -> Result<&T, Reason> {
    field.ok_or(Reason::Incomplete)
}

fn keyword(
    text: Option<&OutsideText>,
    known: impl Fn(&OutsideText) -> Option<Keyword>,
) -> Result<Keyword, Reason> {
    known(needed(text)?).ok_or(Reason::Unknown)
}

/// The permissions of an event of a class that names them.
fn permissions(event: &Event) -> Result<PermissionSet, Reason> {
    let mask = needed(event.denied())?;
    PermissionSet::of_mask(mask.bytes()).ok_or(Reason::Unknown)
}

/// The label of another process in a rule.
fn label(text: &OutsideText) -> NamePattern {
    NamePattern::exactly(folded(text).bytes())
}

fn queue(event: &Event) -> Result<PolicyRule, Reason> {
    let fields = &event.fields;
    let class = fields.class.as_ref().map(OutsideText::bytes);
    Ok(PolicyRule::MessageQueue(QueueRule {
        permissions: permissions(event)?,
        system_v: class == Some(b"sysv_mqueue"),
        name: NamePattern::exactly(needed(fields.name.as_ref())?.bytes()),
        label: fields.olabel.as_ref().map(label),
    }))
}

fn limit(fields: &EventFields) -> Result<PolicyRule, Reason> {
    // The limit of a process with another label is a matter of a capability (`aa_task_setrlimit()`,
    // security/apparmor/resource.c).
    let info = fields.info.as_ref().map(OutsideText::bytes);
    if info == Some(b"cap_sys_resource") {
        let name = OutsideText::new(&b"sys_resource"[..]);
        return keyword(Some(&name), Keyword::capability).map(PolicyRule::Capability);
    }
    Ok(PolicyRule::ResourceLimit(ResourceLimitRule {
        resource: keyword(fields.rlimit.as_ref(), Keyword::resource)?,
        value: *needed(fields.value.as_ref())?,
    }))
}

fn dbus(event: &Event) -> Result<PolicyRule, Reason> {
    let fields = &event.fields;
    let permissions = permissions(event)?;
    let exactly = |text: &OutsideText| NamePattern::exactly(text.bytes());
    // A name like `:1.6` is a number of a connection, which is another one next time.
    let name = fields.name.as_ref();
    let name = name.filter(|name| !name.bytes().starts_with(b":"));
    // The parser refuses objects in rules for these two.
    let alone = permissions.has(Permission::Bind) || permissions.has(Permission::Eavesdrop);
    let object = |text: &Option<OutsideText>| text.as_ref().filter(|_| !alone).map(exactly);
    Ok(PolicyRule::Dbus(DbusRule {
        permissions,
        bus: keyword(fields.bus.as_ref(), Keyword::bus)?,
        path: object(&fields.path),
        interface: object(&fields.interface),
        member: object(&fields.member),
        name: name
            .filter(|_| !permissions.has(Permission::Eavesdrop))
            .map(exactly),
        peer: fields.peer_label.as_ref().filter(|_| !alone).map(label),
    }))
}

#[cfg(test)]
mod tests;

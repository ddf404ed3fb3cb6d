//! Files, links, programs, and changes of the label.

use crate::event::Event;
use crate::fields::EventFields;
use crate::rule::PolicyRule;
use crate::rule::kinds::{ExecTransition, FileRule, LinkRule};
use crate::rule::learnt::Reason;
use crate::rule::lineage::folded;
use crate::rule::pattern::NamePattern;
use crate::rule::permissions::FilePermissions;
use crate::text::OutsideText;

/// The rule that an event of files teaches.
pub(super) fn rule(event: &Event) -> Result<PolicyRule, Reason> {
    let fields = &event.fields;
    let operation = fields
        .operation
        .as_ref()
        .map_or(&[][..], OutsideText::bytes);
    match operation {
        b"change_profile" | b"change_onexec" => Ok(PolicyRule::ChangeProfile(target(fields, b"")?)),
        b"stack" | b"stack_onexec" => Ok(PolicyRule::ChangeProfile(target(fields, b"&")?)),
        // A hat is a child profile, and no rule (`aa_change_hat()`, security/apparmor/domain.c).
        b"change_hat" => Err(Reason::MissingProfile),
        b"file_inherit" if !is_terminal(fields) => Err(Reason::Inherited),
        b"getattr" => Err(Reason::Attributes),
        b"link" => link(fields),
        _ => file(event, fields.name.as_ref()),
    }
}

/// The rule for a disconnected path as soon as the profile attaches it to the root.
pub(super) fn attached(event: &Event) -> Result<PolicyRule, Reason> {
    let name = event.fields.name.as_ref().ok_or(Reason::NoName)?;
    if name.bytes().starts_with(b"/") {
        return rule(event);
    }
    let mut event = event.clone();
    event.fields.name = Some(OutsideText::new([b"/", name.bytes()].concat()));
    rule(&event)
}

/// Whether the file is a terminal. The engine passes that one, too, but a shell without it cannot be
/// used, and the descriptor is closed if the profile does not allow it (`aa_inherit_files()`).
fn is_terminal(fields: &EventFields) -> bool {
    let name = fields.name.as_ref().map_or(&[][..], OutsideText::bytes);
    let number = name.strip_prefix(b"/dev/pts/");
    matches!(name, b"/dev/console" | b"/dev/tty")
        || number.is_some_and(|number| number.iter().all(u8::is_ascii_digit))
}

/// The label that a process changes to. A stack is written with `&` before it.
fn target(fields: &EventFields, before: &[u8]) -> Result<NamePattern, Reason> {
    let target = fields.target.as_ref().or(fields.name.as_ref());
    let target = folded(target.ok_or(Reason::Incomplete)?);
    let has_mark = target.bytes().starts_with(before);
    let before = if has_mark { &[] } else { before };
    Ok(NamePattern::exactly(&[before, target.bytes()].concat()))
}

fn link(fields: &EventFields) -> Result<PolicyRule, Reason> {
    Ok(PolicyRule::Link(LinkRule {
        path: path(fields.name.as_ref())?,
        target: path(fields.target.as_ref())?,
        owner: of_owner(fields),
    }))
}

fn file(event: &Event, name: Option<&OutsideText>) -> Result<PolicyRule, Reason> {
    let mask = event.denied().ok_or(Reason::Incomplete)?;
    let (permissions, execute) = FilePermissions::of_mask(mask.bytes()).ok_or(Reason::Unknown)?;
    if permissions.is_empty() && !execute {
        return Err(Reason::Incomplete);
    }
    Ok(PolicyRule::File(FileRule {
        path: path(name)?,
        permissions,
        exec: execute.then_some(ExecTransition::Inherit),
        // Programs are seldom owned by the user that runs them.
        owner: !execute && of_owner(&event.fields),
    }))
}

/// The name of a file. Rules only have absolute paths; pipes, sockets and the like have other names.
fn path(name: Option<&OutsideText>) -> Result<NamePattern, Reason> {
    let name = name.ok_or(Reason::NoName)?;
    match name.bytes().starts_with(b"/") {
        true => Ok(NamePattern::exactly(name.bytes())),
        false => Err(Reason::NoName),
    }
}

/// Whether a rule for the owner allows the access.
///
/// There is none for root. Root owns most files of an image, and a service that reads its
/// configuration as root often reads it again as another user, for example after a signal that was not
/// sent while the service was observed. Files of processes in /proc are different: each process owns
/// its own.
fn of_owner(fields: &EventFields) -> bool {
    let name = fields.name.as_ref().map_or(&[][..], OutsideText::bytes);
    let of_process = || {
        let behind = name.strip_prefix(b"/proc/").unwrap_or_default();
        behind.first().is_some_and(u8::is_ascii_digit)
    };
    let is_owner = fields.fsuid.is_some() && fields.fsuid == fields.ouid;
    is_owner && (fields.fsuid != Some(0) || of_process())
}

//! Mounts, umounts and pivot_root(2).

use crate::fields::EventFields;
use crate::rule::PolicyRule;
use crate::rule::keyword::Keyword;
use crate::rule::kinds::{MountKind, MountRule, PivotRootRule};
use crate::rule::learnt::Reason;
use crate::rule::pattern::NamePattern;
use crate::text::OutsideText;

/// The rule that an event of mounts teaches (`audit_mount()`, security/apparmor/mount.c).
pub(super) fn rule(fields: &EventFields) -> Result<PolicyRule, Reason> {
    let exactly = |text: &OutsideText| NamePattern::exactly(text.bytes());
    let operation = fields
        .operation
        .as_ref()
        .map_or(&[][..], OutsideText::bytes);
    let name = fields.name.as_ref().ok_or(Reason::NoName)?;
    match operation {
        b"umount" => return Ok(PolicyRule::Umount(exactly(name))),
        b"pivotroot" => {
            return Ok(PolicyRule::PivotRoot(PivotRootRule {
                old: fields.srcname.as_ref().map(exactly),
                new: exactly(name),
            }));
        }
        b"mount" => {}
        _ => return Err(Reason::Unknown),
    }
    // Without any flag, the kernel does not write that it is `rw`.
    let writable = OutsideText::new(&b"rw"[..]);
    let flags = fields.flags.as_ref().unwrap_or(&writable);
    let mut options = Keyword::mount_options(flags).ok_or(Reason::Unknown)?;
    let is_remount = |option: &Keyword| option.as_str() == "remount";
    let kind = match options.iter().any(is_remount) {
        true => MountKind::Remount,
        false => MountKind::Mount,
    };
    options.retain(|option| !is_remount(option));
    Ok(PolicyRule::Mount(MountRule {
        kind,
        file_system: fields.fstype.as_ref().map(exactly),
        options,
        source: fields.srcname.as_ref().map(exactly),
        target: exactly(name),
    }))
}

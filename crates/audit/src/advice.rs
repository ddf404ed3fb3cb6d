//! What to do about events that no rule can allow.

/// One line about what the kernel says in `info=`; `None` if a rule can allow it.
#[must_use]
pub fn advice(info: &[u8]) -> Option<&'static str> {
    let has = |part: &[u8]| info.windows(part.len()).any(|at| at == part);
    // `aa_path_name()`, security/apparmor/path.c.
    if has(b"disconnected path") {
        return Some(
            "the file is outside of the file systems of the process, so no rule names it; give the \
             profile the flag attach_disconnected",
        );
    }
    if has(b"deleted entry") {
        return Some(
            "the file was deleted while it was open, so no rule names it; give the profile the flag \
             mediate_deleted",
        );
    }
    // security/apparmor/domain.c.
    if has(b"no new privs") {
        return Some(
            "the process may gain no privileges (no_new_privs), so it cannot change to another \
             profile; let the program inherit the profile (ix), or set allowPrivilegeEscalation: true",
        );
    }
    // `profile_capable()`, security/apparmor/capability.c.
    if has(b"optional: no audit") {
        return Some("the kernel only asked whether the process has it; nothing failed");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::advice;

    #[test]
    fn what_no_rule_can_allow() {
        for (info, part) in [
            (
                "Failed name lookup - disconnected path",
                "attach_disconnected",
            ),
            ("Failed name lookup - deleted entry", "mediate_deleted"),
            ("no new privs", "no_new_privs"),
            ("optional: no audit", "nothing failed"),
        ] {
            assert!(advice(info.as_bytes()).unwrap().contains(part), "{info}");
        }
        assert_eq!(advice(b"failed mntpnt match"), None);
        assert_eq!(advice(b""), None);
    }
}

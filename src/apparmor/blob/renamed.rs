//! The same policy under other names.

use crate::apparmor::blob::values::{Reader, STRUCT, Tagged, text};

/// The profiles of `blob` under other names, and attached to no program; those for which `name`
/// returns none are left out. So the rules of a profile can be loaded and asked about without a change
/// to the profile itself.
///
/// A child must stand behind its parent, as in the blob that the parser writes.
///
/// # Errors
/// A clause that says where the blob is not what the kernel expects, or that no profile is left.
pub fn renamed(
    blob: &[u8],
    mut name: impl FnMut(&str) -> Option<String>,
) -> Result<Vec<u8>, String> {
    let mut reader = Reader { rest: blob };
    let mut written = Vec::new();
    while !reader.rest.is_empty() {
        one(&mut reader, &mut name, &mut written)?;
    }
    match written.is_empty() {
        true => Err("it does not declare the profile".to_owned()),
        false => Ok(written),
    }
}

/// Copies one profile.
fn one(
    reader: &mut Reader<'_>,
    name: &mut impl FnMut(&str) -> Option<String>,
    written: &mut Vec<u8>,
) -> Result<(), String> {
    let start = reader.rest;
    reader.expect(Tagged::Name(b"version"))?;
    reader.value()?;
    let version = between(start, reader.rest);
    let mut header = reader.rest;
    let mut next = reader.value()?;
    if next == Tagged::Name(b"namespace") {
        reader.text()?;
        header = reader.rest;
        next = reader.value()?;
    }
    if next != Tagged::Name(b"profile") {
        return Err("no profile follows its version".to_owned());
    }
    reader.expect(Tagged::Open(STRUCT))?;
    let header = between(header, reader.rest);
    let old = reader.text()?;
    let fields = without_attachment(reader)?;
    if let Some(new) = name(&old) {
        let new = text(&new).ok_or("a name in it is too long")?;
        for part in [version, header, &new, fields] {
            written.extend(part);
        }
    }
    Ok(())
}

/// The fields from `disconnected`, `kill` or `flags` on, up to the end of the structure. Before them
/// are only another name, the programs that the profile attaches to, and their automaton
/// (`unpack_profile()`, security/apparmor/policy_unpack.c).
fn without_attachment<'b>(reader: &mut Reader<'b>) -> Result<&'b [u8], String> {
    let mut open = vec![STRUCT];
    let mut kept = None;
    loop {
        let before = reader.rest;
        match reader.value()? {
            Tagged::Open(code) => open.push(code),
            Tagged::Close(code) => {
                if open.pop().map(|o| o.saturating_add(1)) != Some(code) {
                    return Err("its structures do not nest".to_owned());
                }
                if open.is_empty() {
                    let kept: &[u8] = kept.ok_or("a profile has no flags")?;
                    return Ok(between(kept, reader.rest));
                }
            }
            Tagged::Name(b"disconnected" | b"kill" | b"flags") if open.len() == 1 => {
                kept.get_or_insert(before);
            }
            _ => {}
        }
    }
}

/// The bytes that were read from `start` until only `rest` was left.
fn between<'b>(start: &'b [u8], rest: &[u8]) -> &'b [u8] {
    let length = start.len().saturating_sub(rest.len());
    start.get(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apparmor::blob::walk;
    use proptest::prelude::*;

    fn name(code: u8, text: &str) -> Vec<u8> {
        let mut bytes = super::text(text).unwrap();
        bytes[0] = code;
        bytes
    }

    fn profile(profile: &str, attachment: &[u8]) -> Vec<u8> {
        let number = |n: u32| [&[2][..], &n.to_le_bytes()].concat();
        [
            name(4, "version"),
            number(7),
            name(4, "profile"),
            vec![7],
            name(5, profile),
            attachment.to_vec(),
            name(4, "flags"),
            vec![7],
            number(0),
            number(1),
            number(0),
            vec![8],
            [5, 0, 0, 0].map(number).concat(),
            vec![8],
        ]
        .concat()
    }

    fn to(old: &str) -> Option<String> {
        let rest = old.strip_prefix("web")?;
        (rest.is_empty() || rest.starts_with("//")).then(|| format!("trial{rest}"))
    }

    #[test]
    fn profiles_and_children_get_other_names() {
        let attachment = [
            name(4, "rename"),
            name(5, "old"),
            name(4, "attach"),
            name(5, "/bin/x"),
            name(4, "aadfa"),
            vec![6, 2, 0, 0, 0, 7, 8],
            vec![2, 1, 0, 0, 0],
            name(4, "disconnected"),
            name(5, "/d"),
        ]
        .concat();
        let all = [
            profile("web", &attachment),
            profile("web//child", b""),
            profile("website", b""),
        ]
        .concat();
        assert!(walk(&all).unwrap()[0].attaches);
        let declared = walk(&renamed(&all, to).unwrap()).unwrap();
        let names: Vec<_> = declared.iter().map(|d| &*d.name).collect();
        assert_eq!(names, ["trial", "trial//child"]);
        for profile in declared {
            assert!(!profile.attaches && profile.rename.is_none());
            assert_eq!(profile.capabilities.allow, 5);
        }
        // Only the attachment is gone.
        let kept = [name(4, "disconnected"), name(5, "/d")].concat();
        assert_eq!(
            renamed(&profile("web", &attachment), to).unwrap(),
            profile("trial", &kept)
        );
        assert!(renamed(&profile("other", b""), to).is_err());
        assert!(renamed(b"", to).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(0u8..16, 0..200)) {
            let _ = renamed(&[profile("web", b""), bytes].concat(), to);
        }
    }
}

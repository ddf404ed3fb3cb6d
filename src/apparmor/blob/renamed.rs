//! The same policy under another name.

use crate::apparmor::blob::values::{Reader, STRUCT, Tagged, text};

/// The profile `from` of `blob` and its children, under the name `to`, and attached to no program.
/// Everything else in the blob is left out. So the rules of a profile can be loaded and asked about
/// without a change to the profile itself.
///
/// # Errors
/// A clause that says where the blob is not what the kernel expects, or that it has no such profile.
pub fn renamed(blob: &[u8], from: &str, to: &str) -> Result<Vec<u8>, String> {
    let mut reader = Reader { rest: blob };
    let mut written = Vec::new();
    while !reader.rest.is_empty() {
        one(&mut reader, from, to, &mut written)?;
    }
    match written.is_empty() {
        true => Err("it does not declare the profile".to_owned()),
        false => Ok(written),
    }
}

/// Copies one profile.
fn one(reader: &mut Reader<'_>, from: &str, to: &str, written: &mut Vec<u8>) -> Result<(), String> {
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
    let name = reader.text()?;
    let fields = without_attachment(reader)?;
    let below = name.strip_prefix(from);
    let Some(below) = below.filter(|rest| rest.is_empty() || rest.starts_with("//")) else {
        return Ok(());
    };
    let name = text(&format!("{to}{below}")).ok_or("a name in it is too long")?;
    for part in [version, header, &name, fields] {
        written.extend(part);
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

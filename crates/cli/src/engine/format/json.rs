//! JSON: adding, setting or removing one member without losing order and white space.

use std::borrow::Cow;
use std::path::Path;

use serde_json::value::RawValue;

use oci_apparmor::bundle::fields::{Fields, folds_to, offset};
use oci_apparmor::error::{Error, Kind, Result, quoted};

/// An object in a text.
struct Object<'t> {
    /// The whole text.
    text: &'t str,
    /// The byte offsets of the object, with its braces.
    from: usize,
    to: usize,
    members: Fields<'t>,
}

/// Parses `part` of `text` as an object. docker compares keys without case, as Go does, so a key
/// that docker would take for one of `keys` is refused.
fn object<'t>(path: &Path, text: &'t str, part: &'t str, keys: &[&str]) -> Result<Object<'t>> {
    let refused = |why: String| {
        Error::new(
            Kind::Configuration,
            format!("{} cannot be used: {why}", path.display()),
        )
        .with_remedy("correct it, or move it away; nothing was changed")
    };
    let members: Fields<'t> = serde_json::from_str(part).map_err(|e| {
        let head = text.get(..offset(text, part)).unwrap_or_default();
        let line = head.matches('\n').count().saturating_add(e.line());
        // serde_json appends the position, which is counted from the part.
        let text = e.to_string();
        let why = text.split(" at line ").next().unwrap_or_default();
        refused(format!("line {line}: {why}"))
    })?;
    if let Some(twice) = members.twice() {
        return Err(refused(format!("it has the key {} twice", quoted(twice))));
    }
    for (key, _) in &members.0 {
        if let Some(known) = keys.iter().find(|k| *k != key && folds_to(key, k)) {
            return Err(refused(format!(
                "docker would read its key {} as {known}",
                quoted(key)
            )));
        }
    }
    let blank = part.len().saturating_sub(part.trim_start().len());
    let from = offset(text, part).saturating_add(blank);
    let to = offset(text, part).saturating_add(part.trim_end().len());
    Ok(Object {
        text,
        from,
        to,
        members,
    })
}

impl<'t> Object<'t> {
    /// The text with this member. A new one comes after the others, with the same indentation.
    fn with(&self, key: &str, value: &str) -> Option<String> {
        if let Some(old) = self.members.get(key) {
            let from = offset(self.text, old.get());
            return self.spliced(from, from.checked_add(old.get().len())?, value);
        }
        let name = serde_json::to_string(key).ok()?;
        match self.members.0.last() {
            Some((_, last)) => {
                let inside = self.text.get(self.from.checked_add(1)?..)?;
                let blank = inside.len().checked_sub(inside.trim_start().len())?;
                let lead = inside.get(..blank)?;
                let at = offset(self.text, last.get()).checked_add(last.get().len())?;
                self.spliced(at, at, &format!(",{lead}{name}: {value}"))
            }
            None => {
                // Two more columns than the line of the brace.
                let line = self.text.get(..self.from)?.rsplit('\n').next()?;
                let depth = line.len().checked_sub(line.trim_start().len())?;
                let indent = line.get(..depth)?;
                let object = format!("{{\n{indent}  {name}: {value}\n{indent}}}");
                self.spliced(self.from, self.to, &object)
            }
        }
    }

    /// The text without a member; `None` if the object does not have it.
    fn without(&self, key: &str) -> Option<String> {
        let index = self.members.0.iter().position(|(k, _)| k == key)?;
        let end = |value: &RawValue| offset(self.text, value.get()).checked_add(value.get().len());
        let own = end(self.members.0.get(index)?.1)?;
        if let Some((_, before)) = index.checked_sub(1).and_then(|i| self.members.0.get(i)) {
            return self.spliced(end(before)?, own, "");
        }
        let open = self.from.checked_add(1)?;
        if self.members.0.len() == 1 {
            return self.spliced(open, self.to.checked_sub(1)?, "");
        }
        let comma = self.text.get(own..)?.find(',')?;
        self.spliced(open, own.checked_add(comma)?.checked_add(1)?, "")
    }

    fn spliced(&self, from: usize, to: usize, new: &str) -> Option<String> {
        Some([self.text.get(..from)?, new, self.text.get(to..)?].concat())
    }
}

/// The text; an empty object instead of an empty file, as docker reads it.
fn some(text: &str) -> &str {
    if text.trim().is_empty() { "{}\n" } else { text }
}

fn broken(path: &Path) -> Error {
    Error::new(Kind::Internal, format!("cannot change {}", path.display()))
        .with_remedy("nothing was changed")
}

/// The value of a member, or of a member of that member.
pub(super) fn get<'t>(path: &Path, text: &'t str, keys: &[&str]) -> Result<Option<&'t RawValue>> {
    let mut part = some(text);
    let mut found = None;
    for (depth, key) in keys.iter().enumerate() {
        // Names of runtimes are keys of a Go map, which are compared with case.
        let known = if depth == 0 {
            std::slice::from_ref(key)
        } else {
            &[]
        };
        let object = object(path, text, part, known)?;
        match object
            .members
            .get(key)
            .filter(|value| value.get() != "null")
        {
            None => return Ok(None),
            Some(value) => {
                part = value.get();
                found = Some(value);
            }
        }
    }
    Ok(found)
}

/// The members of a member that is an object.
pub(super) fn members<'t>(
    path: &Path,
    text: &'t str,
    key: &str,
) -> Result<Vec<(Cow<'t, str>, &'t RawValue)>> {
    match get(path, text, &[key])? {
        None => Ok(Vec::new()),
        Some(value) => Ok(object(path, text, value.get(), &[])?.members.0),
    }
}

/// The text with a member set.
pub(super) fn set(path: &Path, text: &str, key: &str, value: &str) -> Result<String> {
    let text = some(text);
    let object = object(path, text, text, &[key])?;
    object.with(key, value).ok_or_else(|| broken(path))
}

/// The text with a member of a member set. The outer member is created if it is missing.
pub(super) fn set_in(
    path: &Path,
    text: &str,
    outer: &str,
    key: &str,
    value: &str,
) -> Result<String> {
    if get(path, text, &[outer])?.is_none() {
        let text = set(path, text, outer, "{}")?;
        return set_in_existing(path, &text, outer, key, value);
    }
    set_in_existing(path, text, outer, key, value)
}

fn set_in_existing(path: &Path, text: &str, outer: &str, key: &str, value: &str) -> Result<String> {
    let Some(inside) = get(path, text, &[outer])? else {
        return Err(broken(path));
    };
    let object = object(path, text, inside.get(), &[])?;
    object.with(key, value).ok_or_else(|| broken(path))
}

/// The text without a member.
pub(super) fn take(path: &Path, text: &str, key: &str) -> Result<String> {
    let object = object(path, some(text), some(text), &[key])?;
    Ok(object.without(key).unwrap_or_else(|| text.to_owned()))
}

/// The text without a member of a member. If it was the only one, the outer member is removed as
/// well.
pub(super) fn take_in(path: &Path, text: &str, outer: &str, key: &str) -> Result<String> {
    let Some(inside) = get(path, text, &[outer, key])?.and(get(path, text, &[outer])?) else {
        return Ok(text.to_owned());
    };
    let object = object(path, text, inside.get(), &[])?;
    match object.members.0.len() {
        1 => take(path, text, outer),
        _ => object.without(key).ok_or_else(|| broken(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const FILE: &str = "/etc/docker/daemon.json";

    fn with(text: &str, key: &str, value: &str) -> String {
        set(Path::new(FILE), text, key, value).unwrap()
    }

    #[test]
    fn a_new_member_is_written_as_the_others_are() {
        for (before, after) in [
            ("", "{\n  \"k\": 1\n}\n"),
            ("{}", "{\n  \"k\": 1\n}"),
            ("{ \n }\n", "{\n  \"k\": 1\n}\n"),
            (
                "{\n    \"a\": 1e400\n}\n",
                "{\n    \"a\": 1e400,\n    \"k\": 1\n}\n",
            ),
            ("{\"a\":[1, 2]}", "{\"a\":[1, 2],\"k\": 1}"),
            ("\t{ \"k\" : {} , \"a\":1}", "\t{ \"k\" : 1 , \"a\":1}"),
        ] {
            assert_eq!(with(before, "k", "1"), after);
        }
        let nested = "{\n  \"runtimes\": {\n    \"a\": {}\n  }\n}\n";
        assert_eq!(
            set_in(Path::new(FILE), nested, "runtimes", "b", "{}").unwrap(),
            "{\n  \"runtimes\": {\n    \"a\": {},\n    \"b\": {}\n  }\n}\n"
        );
        assert_eq!(
            set_in(Path::new(FILE), "{}\n", "runtimes", "b", "{}").unwrap(),
            "{\n  \"runtimes\": {\n    \"b\": {}\n  }\n}\n"
        );
    }

    #[test]
    fn text_that_docker_may_read_differently_is_refused() {
        for (text, why) in [
            ("{\n\"a\": 1,\n}", "line 3"),
            ("[]", "line 1"),
            ("{\"k\":1,\"k\":2}", "twice"),
            ("{\"K\":1}", "would read"),
            ("{} x", "line 1"),
        ] {
            let error = set(Path::new(FILE), text, "k", "1")
                .unwrap_err()
                .to_string();
            assert!(error.contains(why) && error.contains(FILE), "{error}");
        }
    }

    proptest! {
        /// Setting changes one member. Removing it restores every byte, except for white space in
        /// an empty object.
        #[test]
        fn one_member_changes(
            members in prop::collection::btree_map("[a-e]{1,2}", any::<u8>(), 0..4),
            key in "[x-z]", pretty: bool, first: bool,
        ) {
            let before = json!(members);
            let text = if pretty { serde_json::to_string_pretty(&before) } else { serde_json::to_string(&before) }.unwrap();
            let path = Path::new(FILE);
            let after = with(&text, &key, "[]");
            let mut expected = before.clone();
            expected[&key] = json!([]);
            prop_assert_eq!(serde_json::from_str::<Value>(&after).unwrap(), expected);
            prop_assert_eq!(take(path, &after, &key).unwrap(), if members.is_empty() { "{}".to_owned() } else { text.clone() });
            let chosen = if first { members.keys().next() } else { members.keys().last() };
            if let Some(chosen) = chosen {
                let mut expected = before.clone();
                expected.as_object_mut().unwrap().remove(chosen);
                let left = take(path, &text, chosen).unwrap();
                prop_assert_eq!(serde_json::from_str::<Value>(&left).unwrap(), expected);
            }
        }
    }
}

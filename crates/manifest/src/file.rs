//! The manifests of a file: its documents, and the items of lists.

use std::collections::BTreeMap;

use crate::api::{self, KIND, Policy};
use crate::error::{Error, ErrorKind, Result, quoted};
use crate::tree::{Value, YamlNode};
use crate::yaml;
use crate::{Manifest, Rendered, text};

/// Reads the manifests of a YAML or JSON file. The caller limits its size.
///
/// Empty documents and objects of other kinds are left out. A manifest that is refused does not
/// affect the others.
///
/// # Errors
/// [`ErrorKind::Invalid`] if the file as a whole cannot be read. If one manifest is refused, the
/// reason is in that [`Manifest`].
pub fn read(bytes: &[u8]) -> Result<Vec<Manifest>> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::new("not UTF-8 text"))?;
    let documents = yaml::documents(text).map_err(|e| match is_profile_text(text) {
        true => profile_text(),
        false => e,
    })?;
    let mut manifests = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        let place = format!("document {}", index.saturating_add(1));
        match &document.value {
            Value::Null => {}
            Value::Text(_) if is_profile_text(text) => return Err(profile_text()),
            _ => from_document(place, document, &mut manifests),
        }
    }
    refuse_namesakes(&mut manifests);
    Ok(manifests)
}

fn profile_text() -> Error {
    Error::new(format!("text of AppArmor's language, not an {KIND}"))
        .with_remedy("use the file as it is; to check it, run: apparmor_parser -Q -K FILE")
}

/// Whether a file that is not a manifest looks like the text of a profile.
fn is_profile_text(text: &str) -> bool {
    let begins = ["#include <", "include <", "abi <", "@{"];
    text.lines().map(str::trim).any(|line| {
        begins.iter().any(|begin| line.starts_with(begin))
            || (line.ends_with('{') && (line.starts_with("profile ") || line.starts_with('/')))
    })
}

fn from_document(place: String, document: &YamlNode, manifests: &mut Vec<Manifest>) {
    let kind = match kind(document) {
        Ok(kind) => kind,
        Err(e) => return manifests.push(refused(place, e)),
    };
    if kind != "List" && kind != "AppArmorProfileList" {
        manifests.extend(from_object(place, document, None));
        return;
    }
    let items = match items(document) {
        Ok(items) => items,
        Err(e) => return manifests.push(refused(place, e)),
    };
    // The API server leaves out kind and apiVersion in the items of a list of one kind.
    let list = (kind == "AppArmorProfileList").then_some(document);
    for (index, item) in items.iter().enumerate() {
        let place = format!("{place}, item {}", index.saturating_add(1));
        manifests.extend(from_object(place, item, list));
    }
}

fn refused(place: String, e: Error) -> Manifest {
    Manifest {
        place,
        name: None,
        rendered: Err(e),
    }
}

/// The kind of an object.
///
/// # Errors
/// Where it has none: it could be a manifest with a mistake.
fn kind(object: &YamlNode) -> Result<&str> {
    let error = match &object.value {
        Value::Refused(refusal) => refusal.error(),
        Value::Object(_) => match object.get("kind").and_then(YamlNode::text) {
            Some(kind) => return Ok(kind),
            None => Error::new("the object has no kind"),
        },
        _ => Error::new("not an object"),
    };
    let error = match error.remedy() {
        Some(_) => error,
        None => error.with_remedy(format!("a manifest has the kind {KIND}")),
    };
    Err(error.with_line(object.line))
}

fn items(list: &YamlNode) -> Result<&[YamlNode]> {
    match list.get("items").map(|items| &items.value) {
        Some(Value::List(items)) => Ok(items),
        Some(Value::Null) => Ok(&[]),
        _ => Err(Error::new("the list has no items").with_line(list.line)),
    }
}

/// The manifest in an object; nothing if that has another kind. `list` is the list that it is in,
/// if that is a list of nothing else.
fn from_object(place: String, object: &YamlNode, list: Option<&YamlNode>) -> Option<Manifest> {
    let has_no_kind = matches!(object.value, Value::Object(_)) && object.get("kind").is_none();
    let kind = match kind(object) {
        Ok(kind) => kind,
        Err(_) if list.is_some() && has_no_kind => KIND,
        Err(e) => return Some(refused(place, e)),
    };
    match kind {
        // A kind in the wrong case is a mistake, not another kind.
        _ if kind.eq_ignore_ascii_case(KIND) => {}
        "List" | "AppArmorProfileList" => {
            let e = Error::new("a list inside a list is not supported");
            return Some(refused(place, e.with_line(object.line)));
        }
        _ => return None,
    }
    let name = api::name(object);
    let rendered = match &name {
        Ok(name) => render(kind, object, list, name),
        Err(e) => Err(e.clone()),
    };
    Some(Manifest {
        place,
        name: name.ok(),
        rendered,
    })
}

fn render(kind: &str, object: &YamlNode, list: Option<&YamlNode>, name: &str) -> Result<Rendered> {
    if kind != KIND {
        let error = Error::new(format!("must be {KIND}, not {}", quoted(kind)));
        return Err(error.at("kind").located(object));
    }
    let profile = api::profile(object, list)?;
    let has_policy = matches!(profile.policy, Policy::Text(_));
    let text = match profile.policy {
        Policy::Rules(rules) => text::of(name, profile.complain, &rules),
        Policy::Text(text) if text.ends_with('\n') => text,
        Policy::Text(text) => text + "\n",
    };
    Ok(Rendered {
        name: name.to_owned(),
        complain: profile.complain,
        disabled: profile.disabled,
        has_policy,
        text,
    })
}

/// Refuses all manifests that share a name: the kernel has one profile of a name. Their namespaces
/// do not matter; profiles of the operator collide in the same way.
fn refuse_namesakes(manifests: &mut [Manifest]) {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for manifest in manifests.iter() {
        if let Some(name) = &manifest.name {
            let places = places.entry(name.clone()).or_default();
            places.push(manifest.place.clone());
        }
    }
    for manifest in manifests {
        let Some(all) = manifest.name.as_ref().and_then(|name| places.get(name)) else {
            continue;
        };
        if let Some(other) = all.iter().find(|place| **place != manifest.place)
            && manifest.rendered.is_ok()
        {
            let error = Error::new(format!("{other} has the same name"));
            manifest.rendered = Err(error
                .with_kind(ErrorKind::Name)
                .with_remedy("give each profile a name of its own")
                .at("metadata.name"));
        }
    }
}

//! `AppArmorProfile` manifests of the Security Profiles Operator, as text of AppArmor's language.
//!
//! Pure: bytes in, text out. What cannot be read with certainty is refused with the field and the
//! reason. A manifest is a way to write a profile, so nothing in it may come out as anything but
//! the rules that its fields stand for.
//!
//! Only the command line uses this crate, so that the wrapper and the hook need no YAML.

mod error;
mod fields;
mod path;
mod rules;
mod spec;
mod text;
mod yaml;

use std::collections::BTreeMap;

use crate::error::quoted;
pub use crate::error::{Error, ErrorKind, Result};
use crate::fields::{Field, Object};
use crate::spec::{Policy, Spec, Version};
use crate::yaml::Node;

const KIND: &str = "AppArmorProfile";
const GROUP: &str = "security-profiles-operator.x-k8s.io";

/// One manifest of a file.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Where it stands in the file: `document 2`, or `document 2, item 3` of a list.
    pub place: String,
    /// The profile's name, if that much of it could be read.
    pub name: Option<String>,
    /// The profile, or why there is none.
    pub rendered: Result<Rendered>,
}

/// A profile that a manifest stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Its name in the kernel: `metadata.name` as it stands, as the operator has it.
    pub name: String,
    /// Whether the manifest asks for complain mode; the text then says so. Of `spec.policy` only
    /// the text itself tells.
    pub complain: bool,
    /// Whether the manifest says that the profile is not to be loaded.
    pub disabled: bool,
    /// Its text.
    pub text: String,
}

/// Reads the manifests of a YAML or JSON file, whose size the caller has bounded.
///
/// Documents of other kinds are passed over.
///
/// # Errors
/// [`ErrorKind::Invalid`] where the file as a whole cannot be read; what is wrong with one
/// manifest stands in that [`Manifest`].
pub fn read(bytes: &[u8]) -> Result<Vec<Manifest>> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::new("it is not UTF-8 text"))?;
    let documents = yaml::documents(text).map_err(|e| match is_profile_text(text) {
        true => profile_text(),
        false => e,
    })?;
    let mut manifests = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        let place = format!("document {}", index.saturating_add(1));
        match document {
            Node::Null => {}
            Node::Text(_) if is_profile_text(text) => return Err(profile_text()),
            document => from_document(place, document, &mut manifests),
        }
    }
    refuse_namesakes(&mut manifests);
    Ok(manifests)
}

fn profile_text() -> Error {
    Error::new(format!("it is text of AppArmor's language, not an {KIND}"))
        .with_remedy("use it as it is; apparmor_parser -Q -K FILE tells whether it compiles")
}

/// Whether it looks like the text of a profile; asked only of what is no manifest.
fn is_profile_text(text: &str) -> bool {
    let begins = ["#include <", "include <", "abi <", "@{"];
    text.lines().map(str::trim).any(|line| {
        begins.iter().any(|begin| line.starts_with(begin))
            || (line.ends_with('{') && (line.starts_with("profile ") || line.starts_with('/')))
    })
}

fn from_document(place: String, document: &Node, manifests: &mut Vec<Manifest>) {
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
    // In a list of one kind, as the API server sends it, the items do not repeat what they are.
    let of = match (kind, document) {
        ("AppArmorProfileList", Node::Object(list)) => list.get("apiVersion"),
        _ => None,
    };
    for (index, item) in items.iter().enumerate() {
        let place = format!("{place}, item {}", index.saturating_add(1));
        manifests.extend(from_object(place, item, of));
    }
}

fn refused(place: String, e: Error) -> Manifest {
    Manifest {
        place,
        name: None,
        rendered: Err(e),
    }
}

/// The kind of a document; the refusal where it could be anything.
fn kind(document: &Node) -> Result<&str> {
    let why = match document {
        Node::Object(entries) => match entries.get("kind") {
            Some(Node::Text(kind)) => return Ok(kind),
            _ => "it has no kind".to_owned(),
        },
        Node::Unusable(why) => why.clone(),
        _ => "it is not an object".to_owned(),
    };
    Err(Error::new(why).with_remedy(format!("a manifest has the kind {KIND}")))
}

fn items(list: &Node) -> Result<&[Node]> {
    let Node::Object(entries) = list else {
        return Ok(&[]);
    };
    match entries.get("items") {
        Some(Node::List(items)) => Ok(items),
        Some(Node::Null) => Ok(&[]),
        _ => Err(Error::new("it is a list without items")),
    }
}

/// The manifest that an object is, if it is one. `of` is the version of the list that it is in,
/// where that is a list of nothing else.
fn from_object(place: String, node: &Node, of: Option<&Node>) -> Option<Manifest> {
    let inherits =
        of.is_some() && matches!(node, Node::Object(entries) if !entries.contains_key("kind"));
    let kind = match kind(node) {
        Ok(kind) => kind,
        Err(_) if inherits => KIND,
        Err(e) => return Some(refused(place, e)),
    };
    match kind {
        // A kind that is nearly this one is no other.
        _ if kind.eq_ignore_ascii_case(KIND) => {}
        "List" | "AppArmorProfileList" => {
            let e = Error::new("a list in a list is not read");
            return Some(refused(place, e));
        }
        _ => return None,
    }
    let name = name(node);
    let rendered = render(kind, node, of, name.clone());
    Some(Manifest {
        place,
        name: name.ok(),
        rendered,
    })
}

/// `metadata.name`, as far as it can be a profile's. It is looked for in a manifest that is
/// refused, too: that one must not make another of its name the only one.
fn name(manifest: &Node) -> Result<String> {
    let missing = || Error::new("metadata.name is missing");
    let metadata = Field::new("", manifest).entry("metadata")?;
    let field = metadata.ok_or_else(missing)?.entry("name")?;
    let field = field.ok_or_else(missing)?;
    let text = field.text()?;
    // The name stands in the text without quotes; one with '/' would be a child, or attach to
    // the programs of that path. Kubernetes has no such names.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    match !text.is_empty() && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(field
            .refuse(format!(
                "{} is not made of letters, digits, '_', '.' and '-'",
                quoted(text)
            ))
            .name()),
    }
}

fn version(manifest: &Object<'_>, of: Option<&Node>) -> Result<Version> {
    let inherited = of.map(|node| Field::new("apiVersion", node));
    let field = manifest
        .get("apiVersion")
        .or(inherited)
        .ok_or_else(|| Error::new("apiVersion is missing"))?;
    match field.text()?.strip_prefix(GROUP) {
        Some("/v1") => Ok(Version::V1),
        Some("/v1alpha1") => Ok(Version::V1Alpha1),
        _ => Err(field.refuse(format!(
            "it is {}, not {GROUP}/v1 or v1alpha1",
            quoted(field.text()?)
        ))),
    }
}

fn render(kind: &str, node: &Node, of: Option<&Node>, name: Result<String>) -> Result<Rendered> {
    let known = ["apiVersion", "kind", "metadata", "spec", "status"];
    let manifest = Field::new("", node).object(&known)?;
    let name = name?;
    if kind != KIND {
        let why = format!("kind: it is {}, not {KIND}", quoted(kind));
        return Err(Error::new(why));
    }
    let version = version(&manifest, of)?;
    let spec = Spec::read(manifest.get("spec").as_ref(), version)?;
    let text = match spec.policy {
        Policy::Abstract(rules) => text::of(&name, spec.complain, &rules),
        Policy::Text(text) if text.ends_with('\n') => text,
        Policy::Text(text) => text + "\n",
    };
    Ok(Rendered {
        name,
        complain: spec.complain,
        disabled: spec.disabled,
        text,
    })
}

/// The kernel has one profile of a name: which of two manifests is meant cannot be told. It does
/// not matter that their namespaces differ; the operator's own profiles collided so.
fn refuse_namesakes(manifests: &mut [Manifest]) {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for manifest in manifests.iter() {
        if let Some(name) = &manifest.name {
            places
                .entry(name.clone())
                .or_default()
                .push(manifest.place.clone());
        }
    }
    for manifest in manifests {
        let Some(all) = manifest.name.as_ref().and_then(|name| places.get(name)) else {
            continue;
        };
        if let Some(other) = all.iter().find(|place| **place != manifest.place)
            && manifest.rendered.is_ok()
        {
            let why = format!("metadata.name: {other} has the same name");
            manifest.rendered = Err(Error::new(why)
                .name()
                .with_remedy("the kernel has one profile of a name"));
        }
    }
}

#[cfg(test)]
mod tests;

//! The fields of an AppArmorProfile, as serde types.
//!
//! `v1` and `v1alpha1` of the Security Profiles Operator, `api/apparmorprofile/*/
//! apparmorprofile_types.go`. What the operator checks in addition to the schema is in
//! `internal/pkg/daemon/apparmorprofile/crd2armor/crd2armor.go`.
//!
//! An unknown field is refused: a misspelled field would be a missing rule. A field that is
//! missing or null has its default, which allows nothing.

mod lists;
mod profile;
mod ptrace;
mod v1;
mod v1alpha1;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::de::from_node;
use crate::error::{Error, ErrorKind, Result, quoted};
use crate::tree::YamlNode;

pub(crate) use profile::{Network, ParsedSpec, Policy, Rules};
pub(crate) use ptrace::PtraceRule;

/// The kind of a manifest.
pub(crate) const KIND: &str = "AppArmorProfile";

const GROUP: &str = "security-profiles-operator.x-k8s.io";

/// A manifest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedManifest<S> {
    // Read before: they tell the type of the spec.
    #[serde(default, rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(default, rename = "kind")]
    _kind: IgnoredAny,
    #[serde(default, rename = "metadata")]
    _metadata: IgnoredAny,
    #[serde(default)]
    spec: S,
    /// Written by the operator.
    #[serde(default, rename = "status")]
    _status: IgnoredAny,
}

/// The name of a manifest. Other fields are not looked at: a manifest that is refused has a name,
/// too, and no other manifest of that name is accepted.
#[derive(Debug, Deserialize)]
struct Named {
    metadata: ObjectMeta,
}

#[derive(Debug, Deserialize)]
struct ObjectMeta {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Versioned {
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V1Alpha1,
}

/// `metadata.name`, if the rules of this crate allow it as the name of a profile.
///
/// # Errors
/// [`ErrorKind::Name`] for a name that is not allowed.
pub(crate) fn name(manifest: &YamlNode) -> Result<String> {
    let name = from_node::<Named>(manifest)?.metadata.name;
    let refused = |why| {
        let error = Error::new(why).with_kind(ErrorKind::Name);
        Err(error.at("metadata.name").located(manifest))
    };
    // The name is not quoted in the text. With a '/' it would be the name of a child profile, or
    // a path to attach to. Names in Kubernetes need fewer characters than these.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    match name.as_str() {
        "" => refused("is empty".to_owned()),
        text if text.bytes().all(plain) => Ok(name),
        text => refused(format!(
            "may contain only letters, digits, '_', '.' and '-', not {}",
            quoted(text)
        )),
    }
}

/// What a manifest says in its other fields. `list` is the list that the manifest is in, if that
/// is a list of nothing else: its `apiVersion` then applies to its items.
///
/// # Errors
/// The first field that is wrong.
pub(crate) fn profile(manifest: &YamlNode, list: Option<&YamlNode>) -> Result<ParsedSpec> {
    let profile = match version(manifest, list)? {
        Version::V1 => from_node::<TypedManifest<v1::Spec>>(manifest)?
            .spec
            .profile(),
        Version::V1Alpha1 => from_node::<TypedManifest<v1alpha1::Spec>>(manifest)?
            .spec
            .profile(),
    };
    profile.map_err(|e| e.located(manifest))
}

fn version(manifest: &YamlNode, list: Option<&YamlNode>) -> Result<Version> {
    for node in [Some(manifest), list].into_iter().flatten() {
        let Some(version) = from_node::<Versioned>(node)?.api_version else {
            continue;
        };
        return match version.strip_prefix(GROUP) {
            Some("/v1") => Ok(Version::V1),
            Some("/v1alpha1") => Ok(Version::V1Alpha1),
            _ => {
                let why = format!("must be {GROUP}/v1 or v1alpha1, not {}", quoted(&version));
                Err(Error::new(why).at("apiVersion").located(node))
            }
        };
    }
    Err(Error::new("is missing").at("apiVersion").located(manifest))
}

//! The `spec` of an AppArmorProfile: every field of every version that there was.
//!
//! `v1` and `v1alpha1` of the Security Profiles Operator, `api/apparmorprofile/*/
//! apparmorprofile_types.go`; what it checks beside the schema is in
//! `internal/pkg/daemon/apparmorprofile/crd2armor/crd2armor.go`.

use crate::error::{Result, quoted};
use crate::fields::{Field, Object};
use crate::rules::Abstract;

/// What a manifest says.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) complain: bool,
    pub(crate) disabled: bool,
    pub(crate) policy: Policy,
}

/// The rules, in one of the two ways to give them.
#[derive(Debug)]
pub(crate) enum Policy {
    /// AppArmor text: `spec.policy`.
    Text(String),
    /// Lists of what is allowed: `spec.abstract`.
    Abstract(Abstract),
}

/// The versions of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V1Alpha1,
}

impl Spec {
    /// Reads `spec`; a manifest without one allows nothing, as an empty one does.
    pub(crate) fn read(spec: Option<&Field<'_>>, version: Version) -> Result<Self> {
        let Some(field) = spec else {
            return Ok(Self {
                complain: false,
                disabled: false,
                policy: Policy::Abstract(Abstract::default()),
            });
        };
        let object = field.object(match version {
            Version::V1 => &["abstract", "mode", "state"],
            Version::V1Alpha1 => &[
                "abstract",
                "complainMode",
                "disabled",
                "mode",
                "policy",
                "state",
            ],
        })?;
        let complain = one_of_two(&object, "mode", ["Enforce", "Complain"], "complainMode")?;
        let disabled = one_of_two(&object, "state", ["Enabled", "Disabled"], "disabled")?;
        Ok(Self {
            complain,
            disabled,
            policy: policy(&object, version, complain)?,
        })
    }
}

/// The field `word`, whether it has the second of `values`; its predecessor was a boolean, and
/// must not say something else.
fn one_of_two(
    spec: &Object<'_>,
    word: &str,
    [first, second]: [&str; 2],
    predecessor: &str,
) -> Result<bool> {
    let old = spec.flag(predecessor)?;
    let Some(field) = spec.get(word) else {
        return Ok(old.unwrap_or_default());
    };
    let chosen = match field.text()? {
        text if text == first => false,
        text if text == second => true,
        text => {
            return Err(field.refuse(format!("it is {}, not {first} or {second}", quoted(text))));
        }
    };
    match old {
        Some(old) if old != chosen => Err(field.refuse(format!("{predecessor} contradicts it"))),
        _ => Ok(chosen),
    }
}

fn policy(spec: &Object<'_>, version: Version, complain: bool) -> Result<Policy> {
    let rules = spec.get("abstract");
    let text = match spec.get("policy") {
        Some(field) if !field.text()?.is_empty() => field,
        _ => return Ok(Policy::Abstract(Abstract::read(rules.as_ref(), version)?)),
    };
    // Operators that had both fields printed an empty `abstract` with every `policy`.
    if let Some(rules) = rules
        && rules.object(&[]).is_err()
    {
        return Err(text.refuse("there is an abstract as well; only one can hold"));
    }
    if complain {
        return Err(text
            .refuse("complain mode cannot be put into a text")
            .with_remedy("write flags=(complain) into it"));
    }
    let policy = text.text()?;
    if policy.contains('\0') {
        return Err(text.refuse("it has a NUL byte"));
    }
    Ok(Policy::Text(policy.to_owned()))
}

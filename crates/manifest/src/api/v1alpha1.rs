//! `v1alpha1`, with the fields of every operator that had it.

use serde::Deserialize;

use super::lists::{self, Capabilities, Executable, Filesystem};
use super::profile::{Network, ParsedSpec, Policy};
use super::v1::{PolicyMode, State};
use crate::error::{Error, Result};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Spec {
    r#abstract: Abstract,
    mode: Option<PolicyMode>,
    state: Option<State>,
    /// What `mode` was before.
    #[serde(rename = "complainMode")]
    complain_mode: Option<bool>,
    /// What `state` was before.
    disabled: Option<bool>,
    policy: String,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Abstract {
    capability: Option<Capabilities>,
    executable: Option<Executable>,
    filesystem: Option<Filesystem>,
    network: Option<NetworkRules>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct NetworkRules {
    allow_raw: bool,
    allowed_protocols: Protocols,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Protocols {
    allow_tcp: Option<bool>,
    allow_udp: Option<bool>,
    /// The spelling of the first operators.
    #[serde(rename = "allowTCP")]
    old_allow_tcp: Option<bool>,
    #[serde(rename = "allowUDP")]
    old_allow_udp: Option<bool>,
}

impl Spec {
    pub(super) fn profile(self) -> Result<ParsedSpec> {
        let complain = agreed(
            ("mode", self.mode.map(|mode| mode == PolicyMode::Complain)),
            ("complainMode", self.complain_mode),
        )?;
        let disabled = agreed(
            ("state", self.state.map(|state| state == State::Disabled)),
            ("disabled", self.disabled),
        )?;
        let policy = match self.policy.as_str() {
            "" => Policy::Rules(self.r#abstract.unversioned()?.rules()?),
            _ => Policy::Text(checked(self.policy, &self.r#abstract, complain)?),
        };
        Ok(ParsedSpec {
            complain,
            disabled,
            policy,
        })
    }
}

/// What a field and its predecessor say; they must not contradict each other.
fn agreed(new: (&str, Option<bool>), old: (&str, Option<bool>)) -> Result<bool> {
    match (new.1, old.1) {
        (Some(said), Some(other)) if said != other => {
            let why = format!("contradicts spec.{}", old.0);
            Err(Error::new(why).at(&format!("spec.{}", new.0)))
        }
        (said, other) => Ok(said.or(other).unwrap_or_default()),
    }
}

/// `spec.policy`.
fn checked(policy: String, rules: &Abstract, complain: bool) -> Result<String> {
    let refused = |why: &str| Err(Error::new(why).at("spec.policy"));
    // Operators that had both fields wrote an empty `abstract` beside every `policy`.
    if *rules != Abstract::default() {
        return refused("cannot be combined with spec.abstract");
    }
    if complain {
        let why = "complain mode cannot be added to the text of a profile";
        let error = Error::new(why).at("spec.policy");
        return Err(error.with_remedy("write flags=(complain) in the text"));
    }
    match policy.contains('\0') {
        true => refused("has a NUL byte"),
        false => Ok(policy),
    }
}

impl Abstract {
    fn unversioned(self) -> Result<lists::Abstract> {
        Ok(lists::Abstract {
            executable: self.executable,
            filesystem: self.filesystem,
            ptrace: None,
            network: self.network.map(NetworkRules::unversioned).transpose()?,
            capability: self.capability,
        })
    }
}

impl NetworkRules {
    fn unversioned(self) -> Result<Network> {
        let protocols = self.allowed_protocols;
        let either = |name: &str, new: Option<bool>, old: Option<bool>| match (new, old) {
            (Some(_), Some(_)) => {
                let why = format!("has both allow{name} and allow{}", name.to_uppercase());
                Err(Error::new(why).at("spec.abstract.network.allowedProtocols"))
            }
            (new, old) => Ok(new.or(old).unwrap_or_default()),
        };
        Ok(Network {
            raw: self.allow_raw,
            tcp: either("Tcp", protocols.allow_tcp, protocols.old_allow_tcp)?,
            udp: either("Udp", protocols.allow_udp, protocols.old_allow_udp)?,
        })
    }
}

//! `v1`.

use serde::Deserialize;

use super::lists::{self, Capabilities, Executable, Filesystem};
use super::profile::{Network, ParsedSpec, Policy};
use super::ptrace::Ptrace;
use crate::error::Result;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Spec {
    r#abstract: Abstract,
    mode: PolicyMode,
    state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub(super) enum PolicyMode {
    #[default]
    Enforce,
    Complain,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub(super) enum State {
    #[default]
    Enabled,
    Disabled,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Abstract {
    capability: Option<Capabilities>,
    executable: Option<Executable>,
    filesystem: Option<Filesystem>,
    network: Option<NetworkRules>,
    ptrace: Option<Ptrace>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct NetworkRules {
    allow_raw: bool,
    allowed_protocols: Protocols,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Protocols {
    allow_tcp: bool,
    allow_udp: bool,
}

impl Spec {
    pub(super) fn profile(self) -> Result<ParsedSpec> {
        let network = self.r#abstract.network.map(|network| Network {
            raw: network.allow_raw,
            tcp: network.allowed_protocols.allow_tcp,
            udp: network.allowed_protocols.allow_udp,
        });
        let rules = lists::Abstract {
            executable: self.r#abstract.executable,
            filesystem: self.r#abstract.filesystem,
            ptrace: self.r#abstract.ptrace,
            network,
            capability: self.r#abstract.capability,
        };
        Ok(ParsedSpec {
            complain: self.mode == PolicyMode::Complain,
            disabled: self.state == State::Disabled,
            policy: Policy::Rules(rules.rules()?),
        })
    }
}

//! What a manifest says, in either version.

use super::ptrace::PtraceRule;
use crate::capability::Capability;
use crate::path::Path;

/// What a manifest says, in either version.
#[derive(Debug)]
pub(crate) struct ParsedSpec {
    pub(crate) complain: bool,
    pub(crate) disabled: bool,
    pub(crate) policy: Policy,
}

/// The rules, in one of the two forms that a manifest can have.
#[derive(Debug)]
pub(crate) enum Policy {
    /// Text of AppArmor's language: `spec.policy`.
    Text(String),
    /// Lists of what is allowed: `spec.abstract`.
    Rules(Rules),
}

/// `spec.abstract`, checked.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) executables: Vec<Path>,
    pub(crate) libraries: Vec<Path>,
    pub(crate) read_only: Vec<Path>,
    pub(crate) write_only: Vec<Path>,
    pub(crate) read_write: Vec<Path>,
    pub(crate) ptrace: Vec<PtraceRule>,
    pub(crate) network: Option<Network>,
    pub(crate) capabilities: Vec<Capability>,
}

/// `spec.abstract.network`: what a profile may do, where the manifest has that field.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) raw: bool,
    pub(crate) tcp: bool,
    pub(crate) udp: bool,
}

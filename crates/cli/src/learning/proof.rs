//! The proof of a suggestion: its text is loaded under a throw-away name, and asked about every access
//! that was learnt, and about accesses that no container should have.

use crate::learning::draft::Draft;
use crate::learning::events::{ProfileEvents, SeenAccess};
use crate::policy::access::Answer;
use crate::policy::canaries::{self, AllowedCanary};
use crate::policy::trial::Trial;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::{Kind, Result};
use oci_apparmor::node::Node;
use oci_apparmor_audit::rule::PolicyRule;

/// What a text allows of what was learnt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Proof {
    /// How many accesses it allows.
    pub allowed: u64,
    /// Accesses that only rules allow that are written as comments.
    pub held_back: Vec<String>,
    /// Accesses that it does not allow, with the reason as far as it is known.
    pub denied: Vec<(String, &'static str)>,
    /// Accesses about which the kernel's answer does not tell, with the reason.
    pub unclear: Vec<(String, String)>,
    /// What no container should have, and it has.
    pub canaries: Vec<Canary>,
}

/// An access that no container should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Canary {
    /// The access, and what it gives away.
    pub allowed: AllowedCanary,
    /// Whether the source allows it already, without what was learnt.
    pub before: bool,
}

/// Asks a text.
///
/// # Errors
/// If it cannot be loaded, or is gone from the kernel.
pub(crate) fn of(
    node: &Node,
    text: &[u8],
    name: &ProfileName,
    events: &ProfileEvents<'_>,
    draft: &Draft,
    before: Option<&Trial<'_>>,
) -> Result<Proof> {
    let trial = Trial::load(node, text, &name.root())?;
    let mut proof = Proof::default();
    for (child, question, access) in events.accesses() {
        let policy = match trial.policy(child) {
            Ok(policy) => policy,
            Err(e) if e.kind() == Kind::NotFound && !child.is_empty() => {
                let why = "the source does not declare the child";
                proof.denied.push((access.what.clone(), why));
                continue;
            }
            Err(e) => return Err(e),
        };
        let answer = policy.ask(question);
        match &answer {
            _ if access.is_allowed(&answer) => proof.allowed = proof.allowed.saturating_add(1),
            Answer::Unknown(why) => proof.unclear.push((access.what.clone(), why.clone())),
            _ if is_held_back(access, draft) => proof.held_back.push(access.what.clone()),
            Answer::Denied {
                explicit: Some(true),
            } => {
                let why = "a deny rule of the source forbids it";
                proof.denied.push((access.what.clone(), why));
            }
            _ => proof
                .denied
                .push((access.what.clone(), "no rule allows it")),
        }
    }
    let before = before.and_then(|trial| trial.policy("").ok());
    let before = before.map_or_else(Vec::new, |policy| canaries::allowed(&policy));
    for allowed in canaries::allowed(&trial.policy("")?) {
        let before = before.iter().any(|known| known.access == allowed.access);
        proof.canaries.push(Canary { allowed, before });
    }
    Ok(proof)
}

/// Whether only a rule that is a comment allows an access.
fn is_held_back(access: &SeenAccess, draft: &Draft) -> bool {
    let Some(needed) = &access.rule else {
        return false;
    };
    let covers = |rule: &PolicyRule| match (rule, needed) {
        (PolicyRule::File(rule), PolicyRule::File(needed)) => {
            let name = needed.path.name();
            name.is_some_and(|name| rule.path.matches(name.bytes()))
        }
        (rule, needed) => std::mem::discriminant(rule) == std::mem::discriminant(needed),
    };
    let mut held = draft.rules().filter(|(_, rule)| rule.danger.is_some());
    held.any(|(_, rule)| covers(&rule.rule))
}

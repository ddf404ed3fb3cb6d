//! Which profiles annotations may name.
//!
//! To be loaded is no reason: the kernel also holds the profiles of the host's own programs, and
//! some of those are made to be left again (`lxc-start` may change to `unconfined`). A pod author
//! who could name one would trade the engine's default for it, past every admission policy that
//! watches Kubernetes' own field.

use crate::apparmor::name::{Label, ProfileName};
use crate::error::{Error, Kind, Result, quoted};
use crate::settings::{self, Settings};
use crate::wanted::ProfileFacts;

/// The profiles that engines make for containers that name none; they load them themselves, from
/// no file: moby daemon/apparmor_default.go, cri-o internal/config/apparmor, containerd
/// internal/cri/server (`appArmorDefaultProfileName`), nerdctl pkg/defaults/defaults_linux.go.
const ENGINES: [&str; 4] = [
    "docker-default",
    "crio-default",
    "cri-containerd.apparmor.d",
    "nerdctl-default",
];

/// That of podman and buildah, before its version (containers/common pkg/apparmor).
const PODMAN: &str = "containers-default-";

/// An annotation that asks for a profile.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The profile.
    pub name: &'a ProfileName,
    /// The annotation's key.
    pub key: &'a str,
    /// What the engine itself chose for this container.
    pub engine: Option<&'a Label>,
}

/// Whether an annotation may name this profile; the rule that lets it, or none where the profile
/// is nowhere, so that there is nothing to be let.
///
/// # Errors
/// [`Kind::Policy`] with the rule that does not.
pub fn may_ask(
    asking: Asking<'_>,
    settings: &Settings,
    facts: &ProfileFacts,
) -> Result<Option<String>> {
    let Asking { name, key, engine } = asking;
    let refused = |rule: String, hint: String| {
        let what = format!("the annotation {} may not ask for {name}", quoted(key));
        Error::new(Kind::Policy, format!("{what}: {rule}")).with_remedy(hint)
    };
    let denies = |pattern: &&settings::Pattern| {
        let mut lineage = name.lineage();
        lineage.any(|name| pattern.matches_text(name))
    };
    if let Some(pattern) = settings.deny.iter().find(denies) {
        return Err(refused(
            format!("deny has the pattern {:?}", pattern.as_str()),
            "choose another profile, or change the node's deny".to_owned(),
        ));
    }
    if !settings.allow.is_empty() {
        return match settings.allow.iter().find(|p| p.matches(name)) {
            Some(pattern) => Ok(Some(format!(
                "allow has the pattern {:?}",
                pattern.as_str()
            ))),
            None => Err(refused(
                "no pattern of allow matches it".to_owned(),
                "choose another profile, or change the node's allow".to_owned(),
            )),
        };
    }
    if facts.source.is_none() && facts.loaded.is_none() {
        return Ok(None);
    }
    if let Some(rule) = by_default(name, engine, settings, facts) {
        return Ok(Some(rule));
    }
    let rule = match &facts.source {
        Some(source) => format!(
            "{} is a profile of the host, not one for containers",
            source.display()
        ),
        None => "it is loaded, but has no source among the profiles for containers".to_owned(),
    };
    Err(refused(rule, remedy(name, settings, facts)))
}

/// The rule by which a profile may be named where the node does not list any.
fn by_default(
    name: &ProfileName,
    engine: Option<&Label>,
    settings: &Settings,
    facts: &ProfileFacts,
) -> Option<String> {
    if let Some(source) = facts.source.as_ref().filter(|_| facts.for_containers) {
        return Some(format!("{} is for containers", source.display()));
    }
    let podmans = |rest: &str| rest.starts_with(|first: char| first.is_ascii_digit());
    if ENGINES.contains(&name.as_str()) || name.as_str().strip_prefix(PODMAN).is_some_and(podmans) {
        return Some("it is an engine's own default".to_owned());
    }
    // Of a stack each part narrows the others: to name one of them would drop the rest. The floor
    // is there in any case.
    let mut chosen = engine
        .into_iter()
        .flat_map(Label::components)
        .filter(|part| Some(*part) != settings.floor.as_ref());
    if chosen.next() == Some(name) && chosen.next().is_none() {
        return Some("the engine itself chose it for this container".to_owned());
    }
    let node = [
        ("default_profile", &settings.default_profile),
        ("floor", &settings.floor),
    ];
    node.into_iter()
        .find(|(_, profile)| profile.as_ref() == Some(name))
        .map(|(key, _)| format!("it is the node's {key}"))
}

/// How an administrator lets annotations name a profile.
fn remedy(name: &ProfileName, settings: &Settings, facts: &ProfileFacts) -> String {
    // As a pattern that is for this name alone.
    let list = format!(
        "list {:?} in allow, with all else that annotations may name",
        glob::Pattern::escape(name.as_str())
    );
    let Some(first) = settings.profile_directories.first() else {
        return list;
    };
    match &facts.source {
        // A name with a slash at its start attaches to a program: it is refused there, too.
        _ if name.as_str().starts_with('/') => list,
        Some(source) if source.parent() == Some(first.as_path()) => list,
        Some(source) => format!(
            "if it is meant for containers: mv {} {}/; otherwise {list}",
            source.display(),
            first.as_path().display()
        ),
        None => format!(
            "put its source into {} as {}, or {list}",
            first.as_path().display(),
            name.root().file_name()
        ),
    }
}

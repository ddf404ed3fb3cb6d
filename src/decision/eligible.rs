//! Which profiles annotations may name.
//!
//! That a profile is loaded is not enough: the kernel also holds the profiles of host programs, and
//! some of these may change to `unconfined` (`lxc-start`, for example). With such a profile a pod
//! author could get rid of the engine's default, and no admission policy for Kubernetes' own field
//! would see it.

use crate::apparmor::name::{Label, ProfileName};
use crate::error::{Error, Kind, Result, quoted};
use crate::request::{EngineFamily, Key, Request};
use crate::settings::{self, Settings};
use crate::wanted::ProfileFacts;

/// The default profiles of engines. The engines load them themselves, and there is no file: moby daemon/apparmor_default.go, cri-o internal/config/apparmor, containerd
/// internal/cri/server (`appArmorDefaultProfileName`), nerdctl pkg/defaults/defaults_linux.go.
const ENGINES: [&str; 4] = [
    "docker-default",
    "crio-default",
    "cri-containerd.apparmor.d",
    "nerdctl-default",
];

/// The default profile of podman and buildah; their version follows (containers/common pkg/apparmor).
const PODMAN: &str = "containers-default-";

/// An annotation that requests a profile.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The profile.
    pub name: &'a ProfileName,
    /// The annotation's key.
    pub key: &'a str,
    /// The label that the engine chose for this container.
    pub engine: Option<&'a Label>,
}

/// Whether an annotation may name this profile. Returns the rule that allows it; `None` where the
/// profile is neither loaded nor has a source, since it is refused for that.
///
/// # Errors
/// [`Kind::Policy`] with the rule that forbids it.
pub fn may_ask(
    asking: Asking<'_>,
    settings: &Settings,
    facts: &ProfileFacts,
) -> Result<Option<String>> {
    let Asking { name, key, engine } = asking;
    let refused = |rule: String, hint: String| {
        let what = format!(
            "the annotation {} may not name the profile {name}",
            quoted(key)
        );
        Error::new(Kind::Policy, format!("{what}: {rule}")).with_remedy(hint)
    };
    if let Some(pattern) = denied_by(name, settings) {
        return Err(refused(
            format!("deny has the pattern {:?}", pattern.as_str()),
            "use another profile, or change deny in /etc/oci-apparmor/config.toml".to_owned(),
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
                "use another profile, or change allow in /etc/oci-apparmor/config.toml".to_owned(),
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
            "{} is a profile for programs of the host, not for containers",
            source.display()
        ),
        None => {
            "it is loaded, but none of the directories for containers has its source".to_owned()
        }
    };
    Err(refused(rule, remedy(name, settings, facts)))
}

/// Whether an annotation only repeats what the engine requests. Kubernetes copies its field into the
/// beta annotation (1.30 to 1.33), and deploy/policies/field-to-annotation copies it into ours. Such a
/// copy must not be refused where the field alone is accepted, unless `deny` has the name.
///
/// It gives a pod author nothing: without the annotation, or with `runtime/default`, the container gets
/// the same. Nothing copies the field into [`Key::Plain`], and only the engines of Kubernetes make a
/// new bundle for each container: elsewhere the label in the bundle may be that of its last run.
pub(super) fn repeats_engine(
    key: &Key,
    label: &Label,
    request: &Request,
    settings: &Settings,
) -> bool {
    let is_copied = matches!(key, Key::Container(_) | Key::Beta(_));
    let of_kubernetes = matches!(
        request.engine,
        EngineFamily::CriO | EngineFamily::Containerd
    );
    let mut names = label.components().iter();
    let engine = request.engine_label.iter().flat_map(Label::components);
    let engine = engine.filter(|name| Some(*name) != settings.floor.as_ref());
    is_copied
        && of_kubernetes
        && engine.eq(label.components())
        && names.all(|name| denied_by(name, settings).is_none())
}

/// The pattern of `deny` that forbids annotations to name a profile, or one of its parents.
fn denied_by<'s>(name: &ProfileName, settings: &'s Settings) -> Option<&'s settings::Pattern> {
    settings.deny.iter().find(|pattern| {
        let mut lineage = name.lineage();
        lineage.any(|name| pattern.matches_text(name))
    })
}

/// Whether an engine loads a profile of this name for all of its containers.
#[must_use]
pub fn is_default_of_engine(name: &ProfileName) -> bool {
    let podmans = |rest: &str| rest.starts_with(|first: char| first.is_ascii_digit());
    ENGINES.contains(&name.as_str()) || name.as_str().strip_prefix(PODMAN).is_some_and(podmans)
}

/// The rule that allows a profile where the list `allow` is empty.
fn by_default(
    name: &ProfileName,
    engine: Option<&Label>,
    settings: &Settings,
    facts: &ProfileFacts,
) -> Option<String> {
    if let Some(source) = facts.source.as_ref().filter(|_| facts.for_containers) {
        return Some(format!("{} is for containers", source.display()));
    }
    if is_default_of_engine(name) {
        return Some("it is the default profile of an engine".to_owned());
    }
    // One profile of a stack confines less than the stack. The floor is stacked in any case.
    let mut chosen = engine
        .into_iter()
        .flat_map(Label::components)
        .filter(|part| Some(*part) != settings.floor.as_ref());
    if chosen.next() == Some(name) && chosen.next().is_none() {
        return Some("the engine chose it for this container".to_owned());
    }
    let node = [
        ("default_profile", &settings.default_profile),
        ("floor", &settings.floor),
    ];
    node.into_iter()
        .find(|(_, profile)| profile.as_ref() == Some(name))
        .map(|(key, _)| format!("it is {key} of this node"))
}

/// How an administrator allows annotations to name a profile.
fn remedy(name: &ProfileName, settings: &Settings, facts: &ProfileFacts) -> String {
    // As a pattern that matches this name only.
    let list = format!(
        "add {:?} to allow, together with all other profiles that annotations may name",
        glob::Pattern::escape(name.as_str())
    );
    let Some(first) = settings.profile_directories.first() else {
        return list;
    };
    match &facts.source {
        // A name that starts with a slash attaches to a program: that is refused there, too.
        _ if name.as_str().starts_with('/') => list,
        Some(source) if source.parent() == Some(first.as_path()) => list,
        Some(source) => format!(
            "if it is for containers, run: mv {} {}/; otherwise {list}",
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

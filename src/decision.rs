//! What the node makes of a request. Pure: the facts are gathered before.
//!
//! Annotations never weaken: a pod author can ask for another profile that confines, not for
//! less. The README has the rules as a table; `oci-apparmor explain` prints the trail.

mod eligible;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::apparmor::kernel::Enforcement;
use crate::apparmor::loaded::Mode;
use crate::apparmor::name::{Label, ProfileName};
use crate::error::{Error, Kind, Result, quoted};
use crate::request::{Key, Request, Wish};
use crate::settings::{self, Settings};

pub use eligible::{Asking, may_ask};

/// What is known about one profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileFacts {
    /// Its mode in the kernel; `None` where it is not loaded.
    pub loaded: Option<Mode>,
    /// The file that it can be built from.
    pub source: Option<PathBuf>,
    /// Whether that file stands where the node keeps profiles for containers.
    pub for_containers: bool,
    /// Whether the node itself has set it to complain (`force-complain/`).
    pub node_complains: bool,
}

/// What is known about the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whether the kernel enforces anything.
    pub enforcement: Enforcement,
    /// About each of [`candidates`].
    pub profiles: BTreeMap<ProfileName, ProfileFacts>,
}

/// The mode that a profile must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// `enforce` or `kill`.
    Enforcing,
    /// Whichever it has.
    Any,
}

impl Wanted {
    /// Whether a profile in `mode` will do.
    #[must_use]
    pub fn met_by(self, mode: Mode) -> bool {
        self == Self::Any || mode.enforces()
    }
}

/// One profile of the decided label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The profile.
    pub name: ProfileName,
    /// The mode that it must have.
    pub wanted: Wanted,
}

/// What happens with the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The label that it gets; `None`: it is passed through as it is.
    pub label: Option<Label>,
    /// What [`Decision::label`] needs to be in the kernel.
    pub components: Vec<Component>,
    /// Which rules led here, in order.
    pub trail: Vec<String>,
    /// What an administrator should hear about although nothing is refused.
    pub reports: Vec<String>,
}

/// Every profile that the decision may come to, for gathering its facts.
#[must_use]
pub fn candidates(request: &Request, settings: &Settings) -> Vec<ProfileName> {
    let settings = settings.in_namespace(request.namespace.as_deref());
    let asked = match &request.asked {
        Some((_, Wish::Label(label))) => label.components(),
        _ => &[],
    };
    let engine = request.engine_label.iter().flat_map(Label::components);
    let node = [
        &settings.default_profile,
        &settings.floor,
        &settings.sandbox_profile,
    ];
    let mut names: Vec<ProfileName> = Vec::new();
    for name in asked.iter().chain(engine).chain(node.into_iter().flatten()) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// Decides.
///
/// # Errors
/// [`Kind::Policy`] where the node forbids it, [`Kind::NotFound`] where the profile is nowhere,
/// [`Kind::KernelOff`] where nothing would be enforced.
pub fn decide(request: &Request, settings: &Settings, facts: &Facts) -> Result<Decision> {
    let mut trail = Vec::new();
    let settings = &*settings.in_namespace(request.namespace.as_deref());
    let (own, origin) = own(request, settings, &mut trail)?;
    let floor = floor(request, settings);
    let mut decision = Decision {
        label: None,
        components: Vec::new(),
        trail,
        reports: Vec::new(),
    };
    if let Some(own) = &own {
        // A bundle that runs twice already carries the floor.
        let names = own.components().iter().filter(|name| Some(*name) != floor);
        for name in names {
            decision.component(name, &origin, request, settings, facts)?;
        }
        decision.label = Some(own.clone());
    }
    if let Some(floor) = floor {
        decision.component(floor, &Origin::Node("floor"), request, settings, facts)?;
        decision
            .trail
            .push(format!("floor: {floor} is stacked under it"));
        let names = decision.components.iter().map(|c| c.name.clone());
        decision.label = Some(Label::of(names));
    }
    // To be left unconfined is what the engine does anyway; then nothing is to be changed.
    if let Some(label) = &decision.label
        && label.components().is_empty()
        && request
            .engine_label
            .as_ref()
            .is_none_or(|l| l.components().is_empty())
    {
        decision.label = None;
    }
    Ok(decision)
}

/// Where a name comes from, which decides what it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// An annotation: hostile.
    Annotation(String),
    /// The engine's own choice, or its user's.
    Engine,
    /// A key of the node's configuration.
    Node(&'static str),
}

/// What the container gets of its own, without the floor.
fn own(
    request: &Request,
    settings: &Settings,
    trail: &mut Vec<String>,
) -> Result<(Option<Label>, Origin)> {
    let chosen = request
        .engine_label
        .as_ref()
        .filter(|l| !l.components().is_empty());
    match &request.asked {
        None => Ok(by_node(request, settings, trail)),
        // Some engines hand on what a pod's author wrote, others leave the field empty for the
        // same pod: where the engine's word must enforce, it cannot shed the node's.
        Some((Key::Spec, Wish::Label(label)))
            if label.components().is_empty()
                && settings.require_enforcing
                && !settings.allow_unconfined =>
        {
            trail.push(format!(
                "{}: the engine asks for unconfined, which counts as nothing: require_enforcing",
                Key::Spec.as_str()
            ));
            Ok(by_node(request, settings, trail))
        }
        Some((Key::Spec, Wish::Label(label))) => {
            trail.push(format!(
                "{}: the engine asks for {label}",
                Key::Spec.as_str()
            ));
            Ok((Some(label.clone()), Origin::Engine))
        }
        Some((key, Wish::Label(label))) if label.components().is_empty() => {
            // It must not take away what the container would have without it.
            let otherwise = match chosen {
                Some(label) => Some(format!("the engine chose {label}")),
                None => by_node(request, settings, &mut Vec::new())
                    .0
                    .map(|label| format!("the node's default_profile is {label}")),
            };
            if let Some(otherwise) = otherwise
                && !settings.allow_unconfined
            {
                return Err(Error::new(
                    Kind::Policy,
                    format!(
                        "the annotation {} asks for unconfined where {otherwise}",
                        quoted(key.as_str())
                    ),
                )
                .hint("remove it, or set allow_unconfined = true on this node"));
            }
            trail.push(format!(
                "{}: unconfined is asked for and allowed",
                key.as_str()
            ));
            Ok((
                Some(label.clone()),
                Origin::Annotation(key.as_str().to_owned()),
            ))
        }
        Some((key, Wish::Label(label))) => {
            trail.push(format!("{}: the annotation asks for {label}", key.as_str()));
            Ok((
                Some(label.clone()),
                Origin::Annotation(key.as_str().to_owned()),
            ))
        }
        Some((key, Wish::RuntimeDefault)) => {
            trail.push(format!(
                "{}: the annotation asks for the default",
                key.as_str()
            ));
            if let Some(chosen) = chosen {
                trail.push(format!("{}: the engine chose {chosen}", Key::Spec.as_str()));
                return Ok((Some(chosen.clone()), Origin::Engine));
            }
            let (label, origin) = by_node(request, settings, trail);
            if label.is_none() && !matches!(key, Key::Beta(_)) {
                return Err(Error::new(
                    Kind::Policy,
                    format!(
                        "the annotation {} asks for runtime/default, but the engine chose no profile",
                        quoted(key.as_str())
                    ),
                )
                .hint("name a profile, or set default_profile on this node"));
            }
            Ok((label, origin))
        }
    }
}

/// What the node gives to a container for which nothing speaks.
fn by_node(
    request: &Request,
    settings: &Settings,
    trail: &mut Vec<String>,
) -> (Option<Label>, Origin) {
    let (key, profile) = if request.is_sandbox {
        ("sandbox_profile", settings.sandbox_profile.as_ref())
    } else if exempt(request, settings) {
        trail.push("exempt_namespaces: default_profile and floor do not apply".to_owned());
        ("default_profile", None)
    } else {
        ("default_profile", settings.default_profile.as_ref())
    };
    match profile {
        Some(name) => trail.push(format!("{key}: {name}")),
        None => trail.push("nothing asks for a profile".to_owned()),
    }
    (
        profile.map(|name| Label::of([name.clone()])),
        Origin::Node(key),
    )
}

fn floor<'s>(request: &Request, settings: &'s Settings) -> Option<&'s ProfileName> {
    let applies = !request.is_sandbox && !exempt(request, settings);
    settings.floor.as_ref().filter(|_| applies)
}

fn exempt(request: &Request, settings: &Settings) -> bool {
    request
        .namespace
        .as_ref()
        .is_some_and(|ns| settings.exempt_namespaces.contains(ns))
}

impl Decision {
    /// Adds one profile, if its origin may name it and the node can have it.
    fn component(
        &mut self,
        name: &ProfileName,
        origin: &Origin,
        request: &Request,
        settings: &Settings,
        facts: &Facts,
    ) -> Result<()> {
        if let Enforcement::Off(why) = &facts.enforcement {
            return Err(Error::new(
                Kind::KernelOff,
                format!("the container must run under {name}, but {why}"),
            )
            .hint("run: oci-apparmor check"));
        }
        let facts = facts.profiles.get(name).cloned().unwrap_or_default();
        let from = match origin {
            Origin::Annotation(key) => {
                let asking = Asking {
                    name,
                    key,
                    engine: request.engine_label.as_ref(),
                };
                if let Some(rule) = may_ask(asking, settings, &facts)? {
                    self.trail
                        .push(format!("{name}: annotations may name it: {rule}"));
                }
                format!("the annotation {}", quoted(key))
            }
            Origin::Engine => "the engine".to_owned(),
            Origin::Node(key) => format!("the node's {key}"),
        };
        let wanted = match origin {
            Origin::Engine if !settings.require_enforcing => Wanted::Any,
            _ if facts.node_complains => Wanted::Any,
            _ => Wanted::Enforcing,
        };
        match (&facts.source, facts.loaded) {
            (None, None) => {
                return Err(nowhere(name, &from, settings));
            }
            (None, Some(mode)) if !wanted.met_by(mode) => {
                return Err(not_enforcing(name, mode, &from));
            }
            (source, loaded) => {
                let state = loaded.map_or("not loaded".to_owned(), |m| format!("loaded ({m})"));
                let source = source
                    .as_ref()
                    .map_or("no source".to_owned(), |p| p.display().to_string());
                self.trail.push(format!("{name}: {state}, {source}"));
                if let Some(mode) = loaded
                    && !mode.enforces()
                {
                    self.reports
                        .push(format!("{name}, which {from} asks for, is in {mode} mode"));
                }
            }
        }
        self.components.push(Component {
            name: name.clone(),
            wanted,
        });
        Ok(())
    }
}

/// The refusal of a profile that cannot be had.
#[must_use]
pub fn nowhere(name: &ProfileName, from: &str, settings: &Settings) -> Error {
    Error::new(
        Kind::NotFound,
        format!(
            "the profile {name}, which {from} asks for, is neither loaded nor found as the file \
             {} in {}",
            name.root().file_name(),
            settings::listed(&settings.profile_directories)
        ),
    )
    .hint("put its source there, or correct the name")
}

/// The refusal of a profile that does not confine where it must.
#[must_use]
pub fn not_enforcing(name: &ProfileName, mode: Mode, from: &str) -> Error {
    Error::new(
        Kind::Policy,
        format!("the profile {name}, which {from} asks for, is in {mode} mode; it must enforce"),
    )
    .hint(format!(
        "load it in enforce mode, or put it into force-complain on this node: \
         ln -s ../{} /etc/apparmor.d/force-complain/",
        name.root().file_name()
    ))
}

#[cfg(test)]
mod tests;

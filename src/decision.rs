//! Whether the node allows what a container requests, and which label the container gets. Pure: the
//! facts are gathered before.
//!
//! Annotations never weaken confinement: a pod author can choose another profile that confines, not
//! less. docs/policy.md has the rules; `oci-apparmor explain` prints those that decided.

mod eligible;

use std::collections::BTreeMap;

use crate::apparmor::kernel::Enforcement;
use crate::apparmor::name::{Label, ProfileName};
use crate::error::{Error, Kind, Result, quoted};
use crate::request::{Key, Request, RequestedLabel};
use crate::settings::Settings;
use crate::wanted::{Component, ProfileFacts, Wanted, missing, not_enforcing};

use eligible::repeats_engine;
pub use eligible::{Asking, is_default_of_engine, may_ask};

/// What is known about the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whether the kernel enforces anything.
    pub enforcement: Enforcement,
    /// About each of [`candidates`].
    pub profiles: BTreeMap<ProfileName, ProfileFacts>,
}

/// What happens to the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The label that it gets; `None`: its bundle stays as it is.
    pub label: Option<Label>,
    /// What [`Decision::label`] needs to be in the kernel.
    pub components: Vec<Component>,
    /// The rules that led here, in order.
    pub trail: Vec<String>,
    /// Notices for the administrator that refuse nothing.
    pub reports: Vec<String>,
}

/// Every profile that the decision may depend on, so that its facts can be gathered.
#[must_use]
pub fn candidates(request: &Request, settings: &Settings) -> Vec<ProfileName> {
    let settings = settings.in_namespace(request.namespace.as_deref());
    let asked = match &request.asked {
        Some((_, RequestedLabel::Label(label))) => label.components(),
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

/// Decides which label the container gets.
///
/// # Errors
/// [`Kind::Policy`] where the node forbids it, [`Kind::NotFound`] where the profile is neither
/// loaded nor has a source, [`Kind::KernelOff`] where the kernel enforces no profile.
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
        // The label of a bundle that runs a second time already contains the floor.
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
            .push(format!("floor: {floor} is stacked under the label"));
        let names = decision.components.iter().map(|c| c.name.clone());
        decision.label = Some(Label::of(names));
    }
    // The engine leaves the container unconfined anyway: the bundle need not change.
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

/// Where a name comes from: that decides which rules it must pass.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// An annotation, with its key. Hostile.
    Annotation(String),
    /// The engine or its user.
    Engine,
    /// A key of the node's configuration.
    Node(&'static str),
}

/// The label that the container gets, without the floor.
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
        // For the same pod, some engines pass on the `unconfined` of its author, and others leave the
        // field empty. Where the engine's profile must enforce, `unconfined` cannot replace the
        // default_profile of the node.
        Some((Key::Bundle, RequestedLabel::Label(label)))
            if label.components().is_empty()
                && settings.require_enforcing
                && !settings.allow_unconfined =>
        {
            trail.push(format!(
                "{}: unconfined from the engine counts as no request, because of require_enforcing",
                Key::Bundle.as_str()
            ));
            Ok(by_node(request, settings, trail))
        }
        Some((Key::Bundle, RequestedLabel::Label(label))) => {
            trail.push(format!(
                "{}: the engine requests {label}",
                Key::Bundle.as_str()
            ));
            Ok((Some(label.clone()), Origin::Engine))
        }
        Some((key, RequestedLabel::Label(label))) if label.components().is_empty() => {
            // An annotation must not take away the profile that the container would have without it.
            let otherwise = match chosen {
                Some(label) => Some(format!("the engine chose {label}")),
                None => by_node(request, settings, &mut Vec::new())
                    .0
                    .map(|label| format!("default_profile is {label}")),
            };
            if let Some(otherwise) = otherwise
                && !settings.allow_unconfined
            {
                return Err(Error::new(
                    Kind::Policy,
                    format!(
                        "the annotation {} requests unconfined, but {otherwise}",
                        quoted(key.as_str())
                    ),
                )
                .with_remedy(
                    "remove the annotation, or set allow_unconfined = true on this node",
                ));
            }
            trail.push(format!(
                "{}: the annotation requests unconfined, which is allowed",
                key.as_str()
            ));
            Ok((
                Some(label.clone()),
                Origin::Annotation(key.as_str().to_owned()),
            ))
        }
        Some((key, RequestedLabel::Label(label)))
            if repeats_engine(key, label, request, settings) =>
        {
            trail.push(format!(
                "{}: the annotation requests {label}, as {} does, so it counts as the engine's request",
                key.as_str(),
                Key::Bundle.as_str()
            ));
            Ok((request.engine_label.clone(), Origin::Engine))
        }
        Some((key, RequestedLabel::Label(label))) => {
            trail.push(format!("{}: the annotation requests {label}", key.as_str()));
            Ok((
                Some(label.clone()),
                Origin::Annotation(key.as_str().to_owned()),
            ))
        }
        Some((key, RequestedLabel::RuntimeDefault)) => {
            trail.push(format!(
                "{}: the annotation requests runtime/default",
                key.as_str()
            ));
            if let Some(chosen) = chosen {
                trail.push(format!(
                    "{}: the engine chose {chosen}",
                    Key::Bundle.as_str()
                ));
                return Ok((Some(chosen.clone()), Origin::Engine));
            }
            let (label, origin) = by_node(request, settings, trail);
            if label.is_none() && !matches!(key, Key::Beta(_)) {
                return Err(Error::new(
                    Kind::Policy,
                    format!(
                        "the annotation {} requests runtime/default, but the engine chose no profile",
                        quoted(key.as_str())
                    ),
                )
                .with_remedy("name a profile, or set default_profile on this node"));
            }
            Ok((label, origin))
        }
    }
}

/// The profile that the node gives to a container that requests none.
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
        None => trail.push("no profile is requested".to_owned()),
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
    /// Adds one profile, if its origin may name it and the node can provide it.
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
                format!("the container must run under the profile {name}, but {why}"),
            )
            .with_remedy(why.remedy()));
        }
        if name.is_trial() {
            return Err(Error::new(
                Kind::Policy,
                format!("the profile {name} is loaded only to be asked about, and is removed soon"),
            )
            .with_remedy("name a profile that has a source on this node"));
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
                        .push(format!("{name}: an annotation may name it: {rule}"));
                }
                format!("the annotation {}", quoted(key))
            }
            Origin::Engine => "the engine".to_owned(),
            Origin::Node(key) => format!("{key} of this node"),
        };
        let wanted = match origin {
            Origin::Engine if !settings.require_enforcing => Wanted::Any,
            _ if facts.node_complains => Wanted::Any,
            _ => Wanted::Enforcing,
        };
        match (&facts.source, facts.loaded) {
            (None, None) => {
                return Err(missing(name, &from, settings));
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
                    self.reports.push(format!(
                        "the profile {name}, requested by {from}, is in {mode} mode"
                    ));
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

#[cfg(test)]
mod tests;

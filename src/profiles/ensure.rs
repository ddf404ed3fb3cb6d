//! Ensuring that a profile is in the kernel: look, else build, check, load, and look again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::apparmor::blob;
use crate::apparmor::kernel::{self, Kernel, Loaded};
use crate::apparmor::parser::{Limits, Parser};
use crate::decision::{self, Component, Decision, Facts, ProfileFacts};
use crate::error::{Error, Kind, Result};
use crate::profiles::declared::{check, only, unfit};
use crate::profiles::lock::lock;
use crate::profiles::source::{self, Source};
use crate::request::Request;
use crate::settings::Settings;

/// The profiles of this node: in the kernel, and on disk.
#[derive(Debug)]
pub struct Store<'s> {
    settings: &'s Settings,
    kernel: Kernel,
    limit: Duration,
}

/// A profile that is in the kernel as it was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensured {
    /// The profile.
    pub component: Component,
    /// What the kernel holds.
    pub loaded: Loaded,
    /// Whether it had to be loaded.
    pub was_missing: bool,
}

impl<'s> Store<'s> {
    /// The store of a node with these settings.
    #[must_use]
    pub fn new(settings: &'s Settings) -> Self {
        Self {
            settings,
            kernel: Kernel::default(),
            limit: settings.parser_limits().time,
        }
    }

    /// The same store, with less time for compiling one profile.
    #[must_use]
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The kernel.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Decides about a request, with the facts of this node.
    ///
    /// # Errors
    /// Those of [`decision::decide`], and of looking at the kernel.
    pub fn decide(&self, request: &Request) -> Result<Decision> {
        decision::decide(request, self.settings, &self.facts(request)?)
    }

    /// What is known about the profiles that the decision may come to.
    ///
    /// # Errors
    /// Where the kernel's tree cannot be read.
    pub fn facts(&self, request: &Request) -> Result<Facts> {
        let names = decision::candidates(request, self.settings);
        let enforcement = self.kernel.enforcement();
        let mut profiles = BTreeMap::new();
        for name in names {
            let source = source::find(&name, self.settings);
            let facts = ProfileFacts {
                loaded: self.kernel.loaded(&name)?.map(|l| l.mode),
                node_complains: source.as_deref().is_some_and(source::forced_to_complain),
                source,
            };
            profiles.insert(name, facts);
        }
        Ok(Facts {
            enforcement,
            profiles,
        })
    }

    /// Makes sure that the profile is in the kernel, in a mode that will do.
    ///
    /// # Errors
    /// Where it is not and cannot be brought there; nothing may then be started under it.
    pub fn ensure(&self, component: &Component) -> Result<Ensured> {
        let ensured = |loaded, was_missing| Ensured {
            component: component.clone(),
            loaded,
            was_missing,
        };
        if let Some(loaded) = self.right(component)? {
            return Ok(ensured(loaded, false));
        }
        if let Err(why) = kernel::may_load() {
            return Err(self.cannot_load(component, &why)?);
        }
        let _lock = lock(&component.name, self.limit)?;
        // Somebody else may have done it while we waited.
        if let Some(loaded) = self.right(component)? {
            return Ok(ensured(loaded, false));
        }
        let present = self.kernel.loaded(&component.name)?;
        let source = match source::load(&component.name, self.settings) {
            Err(e) if e.kind() == Kind::NotFound => None,
            other => Some(other?),
        };
        let source = match (source, present) {
            (None, Some(loaded)) => return Err(unfit(component, loaded.mode)),
            // The distribution's directories have other owners (apparmor.service, SPO): only what
            // is missing is loaded from them.
            (Some(source), Some(loaded)) if !source.ours => {
                return Err(unfit(component, loaded.mode).hint(format!(
                    "reload it: apparmor_parser -r {}",
                    source.path.display()
                )));
            }
            (Some(source), _) => source,
            (None, None) => {
                return Err(decision::nowhere(
                    &component.name,
                    "the container",
                    self.settings,
                ));
            }
        };
        self.load(component, &source)
            .map_err(|e| e.within(&format!("{} cannot be loaded", source.path.display())))?;
        match self.kernel.loaded(&component.name)? {
            Some(loaded) if component.wanted.met_by(loaded.mode) => Ok(ensured(loaded, true)),
            Some(loaded) => Err(unfit(component, loaded.mode)),
            None => Err(Error::new(
                Kind::Internal,
                format!(
                    "the kernel accepted {} but does not hold it",
                    component.name
                ),
            )
            .hint("see the kernel's log: dmesg | grep apparmor")),
        }
    }

    /// The profile, if the kernel has it in a mode that will do.
    fn right(&self, component: &Component) -> Result<Option<Loaded>> {
        let loaded = self.kernel.loaded(&component.name)?;
        Ok(loaded.filter(|l| component.wanted.met_by(l.mode)))
    }

    /// Compiles, checks and loads one source.
    fn load(&self, component: &Component, source: &Source) -> Result<()> {
        let name = &component.name;
        let parser = Parser::find(
            self.settings.parser.as_ref().map(|p| p.as_path()),
            Limits {
                time: self.limit,
                ..self.settings.parser_limits()
            },
        )?;
        log::debug!(
            "compiling {} with {}",
            source.path.display(),
            parser.program().display()
        );
        let compiled = parser.compile(&source.text, source.complain).map_err(|e| {
            // Where a limit was met, it says which one.
            if e.has_hint() {
                return e;
            }
            e.hint(format!(
                "try: apparmor_parser -Q -K {}",
                source.path.display()
            ))
        })?;
        // AppArmor 5 may compress what it writes; then only its own loader understands it.
        let policy = blob::plain(&compiled.policy).unwrap_or_default();
        if !compiled.policy.is_empty() && policy.is_empty() {
            let names = parser.names(&source.text)?;
            only(name, names.iter().map(String::as_str))?;
            return parser.replace(&source.text, source.complain);
        }
        let declared = blob::walk(policy).map_err(|why| {
            Error::new(
                Kind::DoesNotCompile,
                format!("the compiled policy is malformed: {why}"),
            )
            .hint("reinstall apparmor_parser")
        })?;
        check(component, &declared)?;
        self.kernel.replace(policy)
    }

    /// The error for a process that may not load what is missing.
    fn cannot_load(&self, component: &Component, why: &str) -> Result<Error> {
        let name = &component.name;
        let state = match self.kernel.loaded(name)? {
            Some(loaded) => format!("is loaded in {} mode", loaded.mode),
            None => "is not loaded".to_owned(),
        };
        let source = source::find(name, self.settings);
        let command = match source {
            Some(path) => format!("apparmor_parser -r {}", path.display()),
            None => format!("apparmor_parser -r <the source of {name}>"),
        };
        Ok(Error::new(
            Kind::Policy,
            format!("the profile {name} {state}, and {why}"),
        )
        .hint(format!("an administrator must run: {command}")))
    }
}

//! Whether the kernel holds what a source says, for those who want to know and change nothing.

use crate::apparmor::kernel;
use crate::apparmor::loaded::Loaded;
use crate::apparmor::name::ProfileName;
use crate::error::{Error, Result};
use crate::profiles::compile::policy::Policy;
use crate::profiles::remembered::{Held, Remembered};
use crate::profiles::source::Source;
use crate::profiles::store::ensure::{Against, Store};
use crate::profiles::store::load::undeclared;
use crate::wanted::{Component, Wanted};

/// How the kernel differs from a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// It does not; or the source is not ours, and its content is judged by nobody here.
    None,
    /// The profile is not loaded.
    NotLoaded,
    /// It has another mode, whatever its content is.
    Mode,
    /// It has another content, in the mode that it should have.
    Content,
    /// It has children that the source does not declare, and that allow something; which.
    Children(String),
    /// That cannot be told; why.
    Unknown(String),
}

impl Store<'_> {
    /// Compares a loaded profile with its source. Loads nothing, and remembers nothing; what it
    /// has to compile is kept for whoever loads it.
    ///
    /// # Errors
    /// Where the kernel's tree cannot be read.
    pub fn drift(
        &self,
        name: &ProfileName,
        source: &Source,
        loaded: Option<&Loaded>,
    ) -> Result<Drift> {
        if !source.ours || source.disabled.is_some() {
            return Ok(Drift::None);
        }
        let Some(loaded) = loaded else {
            return Ok(Drift::NotLoaded);
        };
        if let Err(why) = kernel::may_load() {
            return Ok(Drift::Unknown(format!(
                "{why}, and what was compiled is root's"
            )));
        }
        if self.is_as_built(name, source) {
            return Ok(Drift::None);
        }
        let policy = || {
            let mut policy = self.policy(name, source)?;
            let view = self.view(name, Against::Mode)?;
            self.add_closing(name, source, &mut policy, &view)?;
            Ok::<_, Error>(policy)
        };
        match policy() {
            Ok(policy) => self.differs(name, &policy, loaded),
            Err(e) => Ok(Drift::Unknown(e.to_string())),
        }
    }

    /// Whether it is remembered, and still so, that the kernel holds what this source compiles to.
    /// Nothing is read but the kernel's word and stat(2).
    #[must_use]
    pub fn is_as_built(&self, name: &ProfileName, source: &Source) -> bool {
        Remembered::of(name).is_some_and(|r| {
            r.declares(name)
                && r.is_held(self.kernel)
                && r.built.is_some_and(|built| built.is_current(source))
        })
    }

    /// Whether the kernel has a profile, with the children that it had when it was found right.
    ///
    /// # Errors
    /// Where the kernel's tree cannot be read.
    pub fn is_there(&self, name: &ProfileName) -> Result<bool> {
        let remembered = Remembered::of(name);
        let revision = self.kernel.revision();
        if self.look(name, remembered.as_ref(), revision)?.is_none() {
            return Ok(false);
        }
        let is_held = |held: &Held| self.kernel.at(&held.directory, &held.name).is_some();
        Ok(remembered.is_none_or(|r| r.held.iter().all(is_held)))
    }

    /// What a source makes of a profile, in whatever mode.
    pub(crate) fn policy(&self, name: &ProfileName, source: &Source) -> Result<Policy> {
        let component = Component {
            name: name.clone(),
            wanted: Wanted::Any,
        };
        Policy::of(&component, source, self, Remembered::of(name).as_ref())
    }

    fn differs(&self, name: &ProfileName, policy: &Policy, loaded: &Loaded) -> Result<Drift> {
        let declared = policy.declared.iter().find(|d| d.name == name.as_str());
        if declared.is_some_and(|d| d.mode != loaded.mode) {
            return Ok(Drift::Mode);
        }
        let present = self.present(name, policy, None, self.kernel.revision())?;
        Ok(match present.same {
            Some(false) => Drift::Content,
            _ if !present.undeclared.is_empty() => Drift::Children(undeclared(&present.undeclared)),
            Some(true) => Drift::None,
            None => Drift::Unknown("this kernel keeps no hash of what it has loaded".to_owned()),
        })
    }
}

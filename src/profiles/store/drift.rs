//! How a loaded profile differs from its source, for commands that change nothing.

use crate::apparmor::kernel;
use crate::apparmor::loaded::Loaded;
use crate::apparmor::name::ProfileName;
use crate::error::Result;
use crate::profiles::compile::CompiledPolicy;
use crate::profiles::source::Source;
use crate::profiles::store::action::undeclared;
use crate::profiles::store::remembered::Remembered;
use crate::profiles::store::undeclared::Desired;
use crate::profiles::store::view::Store;
use crate::wanted::{Component, Wanted};

/// How a loaded profile differs from its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// It does not, or its source is not in the first profile directory and does not matter.
    None,
    /// The profile is not loaded.
    NotLoaded,
    /// Its mode differs.
    Mode,
    /// Its content differs; its mode is right.
    Content,
    /// It has children that the source does not declare, and that allow something; which.
    Children(String),
    /// They cannot be compared; why.
    Unknown(String),
}

impl Store<'_> {
    /// Compares a loaded profile with its source. Loads nothing. If the source has to be compiled,
    /// its policy is cached.
    ///
    /// # Errors
    /// If the kernel's files cannot be read.
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
                "{why}, and only root can read compiled policy"
            )));
        }
        if self.is_up_to_date(name, source) {
            return Ok(Drift::None);
        }
        let desired = || {
            let policy = self.policy(name, source)?;
            let snapshot = self.snapshot_without_source(name)?;
            self.desired(name, source, policy, &snapshot)
        };
        match desired() {
            Ok(desired) => self.differs(name, &desired, loaded),
            Err(e) => Ok(Drift::Unknown(e.to_string())),
        }
    }

    /// The policy of a source, in any mode.
    pub(super) fn policy(&self, name: &ProfileName, source: &Source) -> Result<CompiledPolicy> {
        let component = Component {
            name: name.clone(),
            wanted: Wanted::Any,
        };
        let known = Remembered::of(name).and_then(|r| r.build);
        self.compiler().policy(&component, source, known.as_ref())
    }

    fn differs(&self, name: &ProfileName, desired: &Desired, loaded: &Loaded) -> Result<Drift> {
        let mut declared = desired.policy.declared.iter();
        let declared = declared.find(|d| d.name == name.as_str());
        if declared.is_some_and(|d| d.mode != loaded.mode) {
            return Ok(Drift::Mode);
        }
        let comparison = self.compare(name, desired, None, self.kernel.revision())?;
        Ok(match comparison.same {
            Some(false) => Drift::Content,
            _ if !comparison.undeclared.is_empty() => {
                Drift::Children(undeclared(&comparison.undeclared))
            }
            Some(true) => Drift::None,
            None => Drift::Unknown("this kernel has no hashes of loaded profiles".to_owned()),
        })
    }
}

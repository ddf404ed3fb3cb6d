//! Comparing what the kernel should have of a profile with what it has.

use crate::apparmor::blob::Declared;
use crate::apparmor::kernel::Revision;
use crate::apparmor::loaded::Loaded;
use crate::apparmor::name::ProfileName;
use crate::error::Result;
use crate::profiles::compile::EmptyProfile;
use crate::profiles::store::remembered::{Remembered, RememberedProfile};
use crate::profiles::store::undeclared::Desired;
use crate::profiles::store::view::Store;

/// What the kernel has of a profile, compared with what it should have.
pub(super) struct Comparison {
    /// The loaded profiles, the top-level one first.
    pub found: Vec<RememberedProfile>,
    /// Whether their contents and modes are as they should be. `None` if the kernel has no hashes.
    pub same: Option<bool>,
    /// Loaded children that the source does not declare, and that allow something.
    pub undeclared: Vec<String>,
}

impl Store<'_> {
    /// Compares the loaded profiles with what should be loaded.
    pub(super) fn compare(
        &self,
        name: &ProfileName,
        desired: &Desired,
        remembered: Option<&Remembered>,
        revision: Option<Revision>,
    ) -> Result<Comparison> {
        let mut comparison = Comparison {
            found: Vec::new(),
            same: Some(true),
            undeclared: Vec::new(),
        };
        let policy = &desired.policy;
        for declared in &policy.declared {
            let loaded = self.find(&declared.name, remembered, revision)?;
            comparison.add(&declared.name, loaded.as_ref(), |loaded| {
                is_same(loaded, declared)
            });
        }
        if policy.declared.is_empty() {
            // Names with variables cannot be looked up; the profile that is needed can.
            let needed = [name.root().to_string(), name.to_string()];
            let names: &[String] = match policy.names_are_expanded() {
                true => &policy.names,
                false => &needed,
            };
            for name in names {
                let loaded = self.find(name, remembered, revision)?;
                comparison.add(name, loaded.as_ref(), |_| None);
            }
        }
        if let Some(emptied) = &desired.emptied {
            self.compare_undeclared(&mut comparison, name, emptied)?;
        }
        Ok(comparison)
    }

    /// Adds the children that the source does not declare.
    fn compare_undeclared(
        &self,
        comparison: &mut Comparison,
        name: &ProfileName,
        emptied: &[EmptyProfile],
    ) -> Result<()> {
        let root = name.root();
        let root = comparison.found.iter().find(|p| p.name == root.as_str());
        let Some(root) = root else { return Ok(()) };
        let mut children = self.kernel.children(&root.directory)?;
        children.retain(|child| comparison.found.iter().all(|p| p.directory != *child));
        for directory in children {
            // A child without a name has just been removed.
            let Some(name) = self.kernel.name_at(&directory) else {
                continue;
            };
            let Some(loaded) = self.kernel.described(&directory) else {
                continue;
            };
            let empty = emptied.iter().find(|empty| empty.name == name);
            let is_empty = empty.map(|empty| match &empty.declared {
                Some(declared) => is_same(&loaded, declared),
                None => None,
            });
            match is_empty {
                None | Some(Some(false)) => comparison.undeclared.push(name),
                Some(is_empty) => {
                    comparison.add(&name, Some(&loaded), |_| is_empty);
                    if let Some(added) = comparison.found.last_mut() {
                        added.is_empty = true;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Comparison {
    fn add(
        &mut self,
        name: &str,
        loaded: Option<&Loaded>,
        is_same: impl Fn(&Loaded) -> Option<bool>,
    ) {
        self.same = match (self.same, loaded.map_or(Some(false), is_same)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (None, _) | (_, None) => None,
            (Some(true), same) => same,
        };
        self.found
            .extend(loaded.map(|loaded| RememberedProfile::of(name, loaded)));
    }
}

/// Whether a loaded profile is the declared one; `None` if the kernel has no hash of it.
fn is_same(loaded: &Loaded, declared: &Declared) -> Option<bool> {
    match &loaded.hash {
        Some(hash) => Some(declared.is(hash)),
        None => (loaded.mode != declared.mode).then_some(false),
    }
}

//! Children that the kernel has of a profile, and that its source does not declare.
//!
//! When a profile is replaced, the kernel keeps children that the new one does not have
//! (`__replace_profile()`, security/apparmor/policy.c). Processes of the profile can still change
//! to them; for a hat no rule is needed. They are not removed, because a process that runs under
//! one would become unconfined. Instead, each is replaced by an empty profile of its name.

use crate::apparmor::name::ProfileName;
use crate::error::{Error, Result, quoted};
use crate::profiles::compile::{CompiledPolicy, EmptyProfile};
use crate::profiles::source::Source;
use crate::profiles::store::view::{Snapshot, Store};

/// What the kernel should have of a profile.
pub(super) struct Desired {
    /// The policy of its source.
    pub policy: CompiledPolicy,
    /// Empty profiles for the children that the source does not declare. `None` if these children
    /// do not matter.
    pub emptied: Option<Vec<EmptyProfile>>,
}

impl Store<'_> {
    /// Adds empty profiles to a policy, for the loaded children that it does not declare. Children
    /// of a profile from another directory than the first one are left alone.
    ///
    /// # Errors
    /// If the kernel's files cannot be read, or if an empty profile cannot be compiled.
    pub(super) fn desired(
        &self,
        name: &ProfileName,
        source: &Source,
        policy: CompiledPolicy,
        snapshot: &Snapshot,
    ) -> Result<Desired> {
        let emptied = match source.ours && policy.names_are_expanded() {
            true => Some(self.empty_children(name, &policy, snapshot)?),
            false => None,
        };
        Ok(Desired { policy, emptied })
    }

    fn empty_children(
        &self,
        name: &ProfileName,
        policy: &CompiledPolicy,
        snapshot: &Snapshot,
    ) -> Result<Vec<EmptyProfile>> {
        let root = name.root();
        let remembered = snapshot.remembered.as_ref();
        let Some(loaded) = self.find(root.as_str(), remembered, snapshot.revision)? else {
            return Ok(Vec::new());
        };
        let children = self.kernel.children(&loaded.directory)?;
        // A child without a name has just been removed.
        let names = children.iter().filter_map(|at| self.kernel.name_at(at));
        let undeclared: Vec<String> = names.filter(|name| !policy.names.contains(name)).collect();
        if undeclared.is_empty() {
            return Ok(Vec::new());
        }
        let compiler = self.compiler();
        let parser = compiler.parser()?;
        let empty = |child: String| {
            compiler
                .empty_profile(&child, &parser)
                .map_err(|e| cannot_empty(e, &root, &child))
        };
        undeclared.into_iter().map(empty).collect()
    }

    /// Replaces the child of this name in the kernel.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(super) fn load_empty(&self, child: &EmptyProfile) -> Result<()> {
        match &child.blob {
            Some(blob) => self.kernel.replace(blob),
            None => {
                let parser = self.compiler().parser()?;
                Ok(parser.replace(child.text.as_bytes(), false)?)
            }
        }
    }
}

fn cannot_empty(e: Error, parent: &ProfileName, child: &str) -> Error {
    let what = format!(
        "its child {}, which the source does not declare, cannot be replaced by an empty profile",
        quoted(child)
    );
    e.about(&what).or_remedy(format!(
        "declare the child in the source; or stop the containers under {parent} and run: \
         oci-apparmor unload {parent}"
    ))
}

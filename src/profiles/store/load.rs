//! Loading a profile from its source.

use crate::apparmor::kernel;
use crate::apparmor::loaded::Loaded;
use crate::apparmor::name::ProfileName;
use crate::counters::{Counter, count};
use crate::error::{Error, Kind, Result};
use crate::profiles::lock::LockFile;
use crate::profiles::source::Source;
use crate::profiles::store::action::{Action, ReloadReason};
use crate::profiles::store::remembered::Remembered;
use crate::profiles::store::undeclared::Desired;
use crate::profiles::store::view::{Snapshot, Store};
use crate::settings::OnDrift;
use crate::wanted::{Component, Wanted, missing, not_enforcing};

/// Whether a loaded profile that differs from its source is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// Always.
    Always,
    /// If `on_drift` is `"reload"`.
    AsConfigured,
}

impl Store<'_> {
    /// Loads a profile from its source.
    ///
    /// # Errors
    /// If it has no source, or if it cannot or may not be loaded.
    pub fn load(&self, name: &ProfileName, reload: Reload) -> Result<(Loaded, Action)> {
        let component = Component {
            name: name.clone(),
            wanted: Wanted::Any,
        };
        if let Err(why) = kernel::may_load() {
            return Err(self.snapshot_without_source(name)?.cannot_load(name, why));
        }
        let no_source = || missing(name, "the command line", self.settings);
        if Source::of(name, self.settings)?.is_none() {
            return Err(no_source());
        }
        let limit = self.lock_limit();
        let lock_file = LockFile::of(name, limit)?;
        let _lock = lock_file.shared()?;
        let _loading = lock_file.for_loading(limit).exclusive()?;
        let snapshot = self.snapshot(name)?;
        let source = snapshot.source.clone().ok_or_else(no_source)?;
        self.load_from(&component, &source, snapshot, reload)
    }

    /// Loads a profile for a container, in the wanted mode. The caller has the lock for loading.
    pub(super) fn load_wanted(
        &self,
        component: &Component,
        snapshot: Snapshot,
    ) -> Result<(Loaded, Action)> {
        let name = &component.name;
        let wrong_mode = |mode| not_enforcing(name, mode, "the container");
        let source = match (snapshot.source.clone(), &snapshot.loaded) {
            (None, Some(loaded)) => return Err(wrong_mode(loaded.mode)),
            // Other programs own the profiles of other directories (apparmor.service, SPO). They
            // are loaded if they are missing, but not replaced.
            (Some(source), Some(loaded)) if !source.ours => {
                return Err(wrong_mode(loaded.mode)
                    .with_remedy(format!("run: apparmor_parser -r {}", source.path.display())));
            }
            (Some(source), _) => source,
            (None, None) => return Err(missing(name, "the container", self.settings)),
        };
        let (loaded, action) =
            self.load_from(component, &source, snapshot, Reload::AsConfigured)?;
        match component.wanted.met_by(loaded.mode) {
            true => Ok((loaded, action)),
            false => Err(wrong_mode(loaded.mode)),
        }
    }

    /// Compiles and checks a source, and loads it unless the kernel has that policy already.
    fn load_from(
        &self,
        component: &Component,
        source: &Source,
        snapshot: Snapshot,
        reload: Reload,
    ) -> Result<(Loaded, Action)> {
        let name = &component.name;
        let failed = |e: Error| {
            count(Counter::LoadFailure);
            e.about(&format!("{} cannot be loaded", source.path.display()))
        };
        let desired = || {
            source.may_be_loaded(name)?;
            let known = snapshot.remembered.as_ref().and_then(|r| r.build.as_ref());
            let policy = self.compiler().policy(component, source, known)?;
            count(match policy.is_cached {
                true => Counter::CacheHit,
                false => Counter::Compile,
            });
            self.desired(name, source, policy, &snapshot)
        };
        let desired = desired().map_err(failed)?;
        let action = self.action(name, &desired, &snapshot).map_err(failed)?;
        if let Action::Reloaded(reason) = &action {
            self.may_reload(name, source, reason, reload)?;
        }
        let load = || {
            if action != Action::None {
                self.write(&desired, source)?;
            }
            self.read_back(name, source, desired)
        };
        let loaded = load().map_err(failed)?;
        match &action {
            Action::None => {}
            Action::Loaded => count(Counter::Load),
            Action::Reloaded(ReloadReason::ToolchainChanged) => count(Counter::ReloadToolchain),
            Action::Reloaded(_) => count(Counter::ReloadDrift),
        }
        Ok((loaded, action))
    }

    /// Checks that a loaded profile may be replaced. After a change of the toolchain it always may.
    fn may_reload(
        &self,
        name: &ProfileName,
        source: &Source,
        reason: &ReloadReason,
        reload: Reload,
    ) -> Result<()> {
        let is_allowed = reload == Reload::Always
            || self.settings.on_drift == OnDrift::Reload
            || *reason == ReloadReason::ToolchainChanged;
        if is_allowed {
            return Ok(());
        }
        let path = source.path.display();
        Err(Error::new(
            Kind::Policy,
            format!(
                "the loaded profile {:?} differs from {path}: {reason}, and on_drift is \"refuse\"",
                name.as_str()
            ),
        )
        .with_remedy(format!("run: oci-apparmor load {name}")))
    }

    /// What has to be done to have this policy loaded.
    fn action(&self, name: &ProfileName, desired: &Desired, snapshot: &Snapshot) -> Result<Action> {
        let Some(loaded) = &snapshot.loaded else {
            return Ok(Action::Loaded);
        };
        let before = snapshot.remembered.as_ref();
        let comparison = self.compare(name, desired, before, snapshot.revision)?;
        let changed = || {
            let then = before?.build.as_ref()?;
            ReloadReason::between(then, &desired.policy.build)
        };
        let is_ours = |r: &Remembered| {
            r.build.is_some() && r.is_unchanged(self.kernel, self.kernel.revision())
        };
        let reason = match comparison.same {
            Some(true) if comparison.undeclared.is_empty() => return Ok(Action::None),
            Some(true) => Some(ReloadReason::UndeclaredChildren(comparison.undeclared)),
            // Without hashes, changes by other programs are not visible.
            None => changed(),
            Some(false) if before.is_some_and(is_ours) => changed(),
            Some(false) => Some(ReloadReason::OtherProgram(loaded.mode)),
        };
        Ok(match (reason, comparison.same) {
            (Some(reason), _) => Action::Reloaded(reason),
            // Without hashes it cannot be told whether it differs, so it is loaded again.
            (None, None) => Action::Loaded,
            (None, Some(_)) => Action::Reloaded(ReloadReason::ToolchainChanged),
        })
    }

    fn write(&self, desired: &Desired, source: &Source) -> Result<()> {
        let policy = &desired.policy;
        match &policy.blob {
            Some(blob) => self.kernel.replace(blob)?,
            None => {
                let parser = self.compiler().parser()?;
                parser.replace(&policy.text, source.complain)?;
            }
        }
        for child in desired.emptied.iter().flatten() {
            self.load_empty(child)?;
        }
        Ok(())
    }

    /// Checks that the kernel has the policy now, and remembers it.
    fn read_back(&self, name: &ProfileName, source: &Source, desired: Desired) -> Result<Loaded> {
        // The revision is read first, so that every later change is noticed.
        let revision = self.kernel.revision();
        let comparison = self.compare(name, &desired, None, revision)?;
        let mut found = comparison.found.iter();
        let found = found.find(|p| p.name == name.as_str());
        let (Some(found), Some(true) | None, []) =
            (found, comparison.same, &*comparison.undeclared)
        else {
            return Err(Error::new(
                Kind::Internal,
                format!("the kernel accepted {name}, but has not loaded it"),
            )
            .with_remedy("run: dmesg | grep apparmor"));
        };
        let loaded = found.loaded();
        let build = Some(desired.policy.build);
        Remembered::new(name, comparison.found, revision, Some(source), build).keep();
        Ok(loaded)
    }
}

//! Making sure that a profile is loaded as it is wanted, before a container starts under it.

use crate::apparmor::kernel;
use crate::apparmor::loaded::Loaded;
use crate::apparmor::name::ProfileName;
use crate::error::Result;
use crate::profiles::lock::{Lock, LockFile};
use crate::profiles::source::Source;
use crate::profiles::store::action::Action;
use crate::profiles::store::check::Check;
use crate::profiles::store::remembered::{Remembered, RememberedProfile};
use crate::profiles::store::view::{Snapshot, Store};
use crate::wanted::{Component, missing};

/// A profile that is loaded as it is wanted.
#[derive(Debug)]
pub struct Ensured {
    /// The profile, and the mode that it must have.
    pub component: Component,
    /// The loaded profile.
    pub loaded: Loaded,
    /// What was done.
    pub action: Action,
    /// As long as this lock is held, `oci-apparmor unload` waits.
    pub lock: Option<Lock>,
}

impl Ensured {
    /// A message for the administrator, if a loaded profile was replaced.
    #[must_use]
    pub fn reload(&self) -> Option<String> {
        match &self.action {
            Action::None | Action::Loaded => None,
            Action::Reloaded(why) => Some(format!(
                "the profile {} was reloaded, also for processes that run under it: {why}",
                self.component.name
            )),
        }
    }
}

impl Store<'_> {
    /// Makes sure that a profile is loaded, with the right content and in the wanted mode.
    ///
    /// # Errors
    /// If it is not and cannot be loaded. The container must not start then.
    pub fn ensure(&self, component: &Component, check: Check) -> Result<Ensured> {
        let name = &component.name;
        let ensured = |(loaded, action), lock| Ensured {
            component: component.clone(),
            loaded,
            action,
            lock: Some(lock),
        };
        let limit = self.lock_limit();
        let first = match self.take_snapshot(name, check) {
            Some(snapshot) => snapshot,
            None => self.snapshot_for(name, check)?,
        };
        // Before a lock file is created: pods choose names, and a name that does not exist must
        // not leave a file.
        self.check_possible(component, check, &first)?;
        // From here on, the profile is not unloaded.
        let lock_file = LockFile::of(name, limit)?;
        let lock = lock_file.shared()?;
        let snapshot = self.refresh(name, first, check)?;
        if let Some(loaded) = self.acceptable(component, check, &snapshot) {
            return Ok(ensured((loaded, Action::None), lock));
        }
        if let Err(why) = kernel::may_load() {
            return Err(snapshot.cannot_load(name, why));
        }
        let _loading = lock_file.for_loading(limit).exclusive()?;
        // Another process has usually loaded it while this one waited.
        let snapshot = self.refresh(name, snapshot, check)?;
        let done = match (self.acceptable(component, check, &snapshot), check) {
            (Some(loaded), _) => (loaded, Action::None),
            (None, Check::Content) => self.load_wanted(component, snapshot)?,
            (None, Check::Mode) => self.load_wanted(component, self.snapshot(name)?)?,
        };
        Ok(ensured(done, lock))
    }

    /// What is known about a profile, with its source only if its content is checked.
    fn snapshot_for(&self, name: &ProfileName, check: Check) -> Result<Snapshot> {
        match check {
            Check::Content => self.snapshot(name),
            Check::Mode => self.snapshot_without_source(name),
        }
    }

    /// The same snapshot if the loaded policy has not changed, or a new one.
    fn refresh(&self, name: &ProfileName, snapshot: Snapshot, check: Check) -> Result<Snapshot> {
        match snapshot.revision {
            Some(revision) if self.kernel.revision() == Some(revision) => Ok(snapshot),
            _ => self.snapshot_for(name, check),
        }
    }

    /// Refuses a profile that is not loaded and cannot be loaded.
    fn check_possible(
        &self,
        component: &Component,
        check: Check,
        snapshot: &Snapshot,
    ) -> Result<()> {
        if snapshot.loaded.is_some() {
            return Ok(());
        }
        if let Err(why) = kernel::may_load() {
            return Err(snapshot.cannot_load(&component.name, why));
        }
        let has_source = match check {
            Check::Content => snapshot.source.is_some(),
            Check::Mode => Source::of(&component.name, self.settings)?.is_some(),
        };
        match has_source {
            true => Ok(()),
            false => Err(missing(&component.name, "the container", self.settings)),
        }
    }

    /// The loaded profile, if it is as it must be.
    fn acceptable(
        &self,
        component: &Component,
        check: Check,
        snapshot: &Snapshot,
    ) -> Option<Loaded> {
        let loaded = snapshot.loaded.as_ref()?;
        if !component.wanted.met_by(loaded.mode) {
            return None;
        }
        let name = &component.name;
        let remembered = snapshot.remembered.as_ref();
        let source = snapshot.source.as_ref().filter(|_| check == Check::Content);
        let revision = snapshot.revision;
        let Some(source) = source.filter(|s| s.ours && s.disabled.is_none()) else {
            let is_remembered = |r: &Remembered| {
                r.directory(name.as_str()) == Some(&loaded.directory)
                    && (r.build.is_some() || revision.is_none() || r.revision == revision)
            };
            if !remembered.is_some_and(is_remembered) {
                let profile = RememberedProfile::of(name.as_str(), loaded);
                let source = snapshot.source.as_ref();
                Remembered::new(name, vec![profile], revision, source, None).keep();
            }
            return Some(loaded.clone());
        };
        let current =
            remembered.filter(|known| self.is_remembered_as_current(name, source, known, revision));
        // Another profile was loaded, or a file added. The next container need not look again.
        let is_old = |known: &&Remembered| {
            revision.is_some() && known.revision != revision
                || source.manifest_free() != known.manifest_free()
        };
        if let Some(known) = current.filter(is_old) {
            known.again(revision, source).keep();
        }
        let is_current = current.is_some();
        // A process that may not load profiles cannot read compiled policy either. It accepts
        // what is loaded.
        (is_current || kernel::may_load().is_err()).then(|| loaded.clone())
    }
}

//! The profiles of this node, and what can be seen of them without changing anything.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::apparmor::kernel::{CannotLoad, Enforcement, Kernel, Revision};
use crate::apparmor::loaded::{Loaded, Mode};
use crate::apparmor::name::ProfileName;
use crate::error::{Error, Kind, Result};
use crate::node::Node;
use crate::profiles::compile::Compiler;
use crate::profiles::source::{self, Source};
use crate::profiles::store::check::Check;
use crate::profiles::store::remembered::{Remembered, RememberedProfile};
use crate::settings::Settings;
use crate::wanted::ProfileFacts;

/// The profiles of this node, in the kernel and on disk.
#[derive(Debug)]
pub struct Store<'s> {
    pub(super) settings: &'s Settings,
    pub(super) kernel: &'s Kernel,
    /// How long compiling one profile may take.
    pub(super) time_limit: Duration,
    /// What [`Store::facts_of`] has seen, for [`Store::ensure`].
    snapshots: RefCell<BTreeMap<ProfileName, Snapshot>>,
}

/// What is known about a profile at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// The kernel's revision. As long as it stays the same, `loaded` is right.
    pub revision: Option<Revision>,
    pub loaded: Option<Loaded>,
    /// The source. `None` also if it was not looked for.
    pub source: Option<Source>,
    /// What this is enough for.
    pub check: Check,
    pub remembered: Option<Remembered>,
}

impl Snapshot {
    /// The refusal of a profile that this process may not load.
    pub(super) fn cannot_load(&self, name: &ProfileName, why: CannotLoad) -> Error {
        let state = match &self.loaded {
            Some(loaded) => format!("is loaded in {} mode", loaded.mode),
            None => "is not loaded".to_owned(),
        };
        let why = format!("the profile {name} {state}, and {why}");
        Error::new(Kind::Policy, why)
            .with_remedy(format!("run as root on the host: oci-apparmor load {name}"))
    }
}

impl<'s> Store<'s> {
    /// The profiles of a node.
    #[must_use]
    pub fn new(node: &'s Node) -> Self {
        Self {
            settings: &node.settings,
            kernel: &node.kernel,
            time_limit: node.settings.parser_limits().time,
            snapshots: RefCell::default(),
        }
    }

    /// The same, with another time limit for compiling one profile.
    #[must_use]
    pub fn with_limit(self, time_limit: Duration) -> Self {
        Self { time_limit, ..self }
    }

    /// The kernel.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        self.kernel
    }

    pub(super) fn compiler(&self) -> Compiler<'s> {
        Compiler::new(self.settings, self.kernel, self.time_limit)
    }

    /// Why no profile can be loaded into this kernel, if so. A kernel whose global mode is not
    /// `enforce` can still load profiles.
    #[must_use]
    pub fn unavailable(&self) -> Option<Error> {
        match self.kernel.enforcement() {
            Enforcement::Off(why) if !self.kernel.features().is_dir() => Some(why.error()),
            _ => None,
        }
    }

    /// A manifest of the first profile directory that cannot be read, and why.
    pub fn broken_manifest(&self) -> Option<String> {
        source::broken_manifest(self.settings)
    }

    /// The facts about a profile that a decision needs. What was seen is kept for
    /// [`Store::ensure`].
    ///
    /// # Errors
    /// If the kernel's files or the manifests cannot be read.
    pub fn facts_of(&self, name: &ProfileName) -> Result<ProfileFacts> {
        let snapshot = self.snapshot(name)?;
        let source = snapshot.source.as_ref();
        let facts = ProfileFacts {
            loaded: snapshot.loaded.as_ref().map(|l| l.mode),
            node_complains: source.is_some_and(|s| s.complain),
            for_containers: source.is_some_and(|s| s.is_for_containers(name)),
            source: source.map(|s| s.path.clone()),
        };
        self.snapshots.borrow_mut().insert(name.clone(), snapshot);
        Ok(facts)
    }

    /// The loaded profile of this name. Its directory is usually remembered, so that nothing has to
    /// be searched.
    ///
    /// # Errors
    /// As for [`Kernel::loaded`].
    pub fn loaded(&self, name: &ProfileName) -> Result<Option<Loaded>> {
        let revision = self.kernel.revision();
        self.find(name.as_str(), Remembered::of(name).as_ref(), revision)
    }

    /// Whether a profile of this name is loaded that this program did not load from a source, as far as
    /// is known since boot.
    ///
    /// # Errors
    /// As for [`Kernel::loaded`].
    pub fn is_loaded_by_another(&self, name: &ProfileName) -> Result<bool> {
        let is_ours = Remembered::of(name).is_some_and(|r| r.build.is_some());
        Ok(!is_ours && self.loaded(name)?.is_some())
    }

    /// The mode of the loaded profile of this name. What was seen is kept for [`Store::ensure`] with
    /// [`Check::Mode`].
    ///
    /// # Errors
    /// As for [`Kernel::loaded`].
    pub fn mode_of(&self, name: &ProfileName) -> Result<Option<Mode>> {
        let snapshot = self.snapshot_without_source(name)?;
        let mode = snapshot.loaded.as_ref().map(|loaded| loaded.mode);
        self.snapshots.borrow_mut().insert(name.clone(), snapshot);
        Ok(mode)
    }

    /// Whether a profile is loaded, with all children that it had when it was last found correct.
    ///
    /// # Errors
    /// If the kernel's files cannot be read.
    pub fn is_complete(&self, name: &ProfileName) -> Result<bool> {
        let remembered = Remembered::of(name);
        let revision = self.kernel.revision();
        if self
            .find(name.as_str(), remembered.as_ref(), revision)?
            .is_none()
        {
            return Ok(false);
        }
        let is_loaded = |p: &RememberedProfile| self.kernel.at(&p.directory, &p.name).is_some();
        Ok(remembered.is_none_or(|r| r.profiles.iter().all(is_loaded)))
    }

    /// Whether the kernel is known to have the policy of this source: it was loaded from it, and
    /// neither the kernel nor a file has changed. Reads only the kernel's files and stat(2).
    #[must_use]
    pub fn is_up_to_date(&self, name: &ProfileName, source: &Source) -> bool {
        let remembered = Remembered::of(name);
        let revision = self.kernel.revision();
        remembered.is_some_and(|r| self.is_remembered_as_current(name, source, &r, revision))
    }

    pub(super) fn is_remembered_as_current(
        &self,
        name: &ProfileName,
        source: &Source,
        remembered: &Remembered,
        revision: Option<Revision>,
    ) -> bool {
        let build = remembered.build.as_ref();
        remembered.declares(name)
            && remembered.is_unchanged(self.kernel, revision)
            && build.is_some_and(|build| build.is_current(source))
    }

    /// What is known about a profile now.
    pub(super) fn snapshot(&self, name: &ProfileName) -> Result<Snapshot> {
        let mut snapshot = self.snapshot_without_source(name)?;
        let remembered = snapshot.remembered.as_ref();
        let manifest_free = remembered.and_then(Remembered::manifest_free);
        snapshot.source = Source::of_with(name, self.settings, manifest_free)?;
        snapshot.check = Check::Content;
        Ok(snapshot)
    }

    pub(super) fn snapshot_without_source(&self, name: &ProfileName) -> Result<Snapshot> {
        let remembered = Remembered::of(name);
        let revision = self.kernel.revision();
        Ok(Snapshot {
            revision,
            loaded: self.find(name.as_str(), remembered.as_ref(), revision)?,
            source: None,
            check: Check::Mode,
            remembered,
        })
    }

    /// What [`Store::facts_of`] or [`Store::mode_of`] has seen of a profile, if that is enough for
    /// this check.
    pub(super) fn take_snapshot(&self, name: &ProfileName, check: Check) -> Option<Snapshot> {
        let seen = self.snapshots.borrow_mut().remove(name)?;
        (check == Check::Mode || seen.check == Check::Content).then_some(seen)
    }

    /// How long to wait for a lock: three times as long as the compiler may take.
    pub(super) fn lock_limit(&self) -> Duration {
        self.time_limit.saturating_mul(3)
    }

    /// A loaded profile: as it is remembered if the kernel still has the same revision, otherwise in
    /// its remembered directory, or searched for.
    pub(super) fn find(
        &self,
        name: &str,
        remembered: Option<&Remembered>,
        revision: Option<Revision>,
    ) -> Result<Option<Loaded>> {
        let known = remembered.and_then(|remembered| {
            let known = remembered.profile(name)?;
            match remembered.is_of_revision(revision) {
                true => Some(known.loaded()),
                false => self.kernel.at(&known.directory, name),
            }
        });
        match known {
            Some(loaded) => Ok(Some(loaded)),
            None => self.kernel.named_at(name, revision),
        }
    }
}

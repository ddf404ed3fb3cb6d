//! Ensuring that a profile is in the kernel: look, and where it is not as it must be, load it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::apparmor::kernel::{self, CannotLoad, Enforcement, Kernel};
use crate::apparmor::loaded::Loaded;
use crate::apparmor::name::ProfileName;
use crate::error::{Error, Kind, Result};
use crate::node::Node;
use crate::profiles::lock::{Lock, Locks};
use crate::profiles::remembered::{Held, Remembered};
use crate::profiles::source::Source;
use crate::profiles::source::manifests::Manifests;
use crate::settings::Settings;
use crate::wanted::{Component, ProfileFacts, Wanted, missing};

/// The profiles of this node: in the kernel, and on disk.
#[derive(Debug)]
pub struct Store<'s> {
    pub(crate) settings: &'s Settings,
    pub(crate) kernel: &'s Kernel,
    pub(crate) limit: Duration,
    /// What was seen for deciding, which ensuring need not look for again.
    views: RefCell<BTreeMap<ProfileName, View>>,
}

/// What is to be seen of a profile at one moment.
#[derive(Debug)]
pub(crate) struct View {
    /// The kernel's revision at that moment; as long as it is the same, so is `loaded`.
    pub revision: Option<u64>,
    pub loaded: Option<Loaded>,
    pub source: Option<Source>,
    pub remembered: Option<Remembered>,
}

/// A profile that is in the kernel as it was wanted.
#[derive(Debug)]
pub struct Ensured {
    /// The profile.
    pub component: Component,
    /// What the kernel holds.
    pub loaded: Loaded,
    /// What had to be done for it.
    pub change: Change,
    /// Nobody unloads it as long as this is held.
    pub lock: Option<Lock>,
}

impl Ensured {
    /// What an administrator should hear of, if it was there and had to be replaced.
    #[must_use]
    pub fn reload(&self) -> Option<String> {
        match &self.change {
            Change::Nothing | Change::Loaded => None,
            Change::Reloaded(why) => Some(format!(
                "the profile {} was loaded again, also for what runs under it: {why}",
                self.component.name
            )),
        }
    }
}

/// What had to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing: it was as it must be.
    Nothing,
    /// It was missing.
    Loaded,
    /// It was there, but not as it must be; why.
    Reloaded(String),
}

/// Against what a loaded profile is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// Its source, where that is ours: the content must be what the source says.
    Source,
    /// The wanted mode alone: an edited file must not fail the health checks of what runs.
    Mode,
}

/// On whose word a profile is loaded that is there already, but is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// A person's, who wants it replaced.
    Person,
    /// The node's configuration: `on_drift`.
    Settings,
}

impl<'s> Store<'s> {
    /// The store of a node.
    #[must_use]
    pub fn new(node: &'s Node) -> Self {
        Self {
            settings: &node.settings,
            kernel: &node.kernel,
            limit: node.settings.parser_limits().time,
            views: RefCell::default(),
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
        self.kernel
    }

    /// Why this kernel takes no policy, where it does not. One whose global mode is not to
    /// enforce does.
    #[must_use]
    pub fn takes_none(&self) -> Option<Error> {
        match self.kernel.enforcement() {
            Enforcement::Off(why) if !self.kernel.features().is_dir() => Some(why.error()),
            _ => None,
        }
    }

    /// A manifest of the first directory that cannot be read, and why.
    pub fn broken_manifest(&self) -> Option<String> {
        let directory = self.settings.profile_directories.first()?;
        let manifests = Manifests::of(directory.as_path()).ok()?;
        let (path, why) = manifests.broken.first_key_value()?;
        Some(format!("{} cannot be read: {why}", path.display()))
    }

    /// What is known about one profile; what was seen for it is kept for ensuring it.
    ///
    /// # Errors
    /// Where the kernel's tree cannot be read.
    pub fn facts_of(&self, name: &ProfileName) -> Result<ProfileFacts> {
        let view = self.view(name, Against::Source)?;
        let source = view.source.as_ref();
        let facts = ProfileFacts {
            loaded: view.loaded.as_ref().map(|l| l.mode),
            node_complains: source.is_some_and(|s| s.complain),
            for_containers: source.is_some_and(|s| s.is_for_containers(name)),
            source: source.map(|s| s.path.clone()),
        };
        self.views.borrow_mut().insert(name.clone(), view);
        Ok(facts)
    }

    /// What is to be seen of a profile now; its source only if it is judged by that.
    pub(crate) fn view(&self, name: &ProfileName, against: Against) -> Result<View> {
        let remembered = Remembered::of(name);
        let revision = self.kernel.revision();
        Ok(View {
            revision,
            loaded: self.look(name, remembered.as_ref(), revision)?,
            source: match against {
                Against::Source => Source::of(name, self.settings)?,
                Against::Mode => None,
            },
            remembered,
        })
    }

    /// The same, if nothing has changed in the kernel.
    fn still(&self, name: &ProfileName, view: View, against: Against) -> Result<View> {
        match view.revision {
            Some(revision) if self.kernel.revision() == Some(revision) => Ok(view),
            _ => self.view(name, against),
        }
    }

    /// The loaded profile of this name. Where it was is remembered, so that usually nothing is
    /// searched.
    ///
    /// # Errors
    /// As for [`Kernel::loaded`].
    pub fn loaded(&self, name: &ProfileName) -> Result<Option<Loaded>> {
        let revision = self.kernel.revision();
        self.look(name, Remembered::of(name).as_ref(), revision)
    }

    /// The same, where that is at hand.
    pub(crate) fn look(
        &self,
        name: &ProfileName,
        remembered: Option<&Remembered>,
        revision: Option<u64>,
    ) -> Result<Option<Loaded>> {
        let known = remembered
            .and_then(|r| r.directory(name.as_str()))
            .and_then(|directory| self.kernel.at(directory, name.as_str()));
        match known {
            Some(loaded) => Ok(Some(loaded)),
            None => self.kernel.named_at(name.as_str(), revision),
        }
    }

    /// Makes sure that the profile is in the kernel, in a mode that will do.
    ///
    /// # Errors
    /// Where it is not and cannot be brought there; nothing may then be started under it.
    pub fn ensure(&self, component: &Component, against: Against) -> Result<Ensured> {
        let name = &component.name;
        let ensured = |(loaded, change), lock| Ensured {
            component: component.clone(),
            loaded,
            change,
            lock: Some(lock),
        };
        let limit = self.waiting();
        let seen = self.views.borrow_mut().remove(name);
        // A lock is a file, and names come from pods: there is none for what is not there.
        let first = match seen {
            Some(view) => view,
            None => self.view(name, against)?,
        };
        self.can_be_there(component, against, &first)?;
        // From here on nobody unloads it.
        let locks = Locks::of(name, limit)?;
        let together = locks.shared()?;
        let view = self.still(name, first, against)?;
        if let Some(loaded) = self.right(component, against, &view) {
            return Ok(ensured((loaded, Change::Nothing), together));
        }
        if let Err(why) = kernel::may_load() {
            return Err(cannot_load(component, &view, why));
        }
        let _alone = locks.loading(limit).alone()?;
        // Most find it right now, since somebody else has worked on it.
        let view = self.still(name, view, against)?;
        let done = match (self.right(component, against, &view), against) {
            (Some(loaded), _) => (loaded, Change::Nothing),
            (None, Against::Source) => self.put_right(component, view)?,
            (None, Against::Mode) => {
                self.put_right(component, self.view(name, Against::Source)?)?
            }
        };
        Ok(ensured(done, together))
    }

    /// Refuses a profile that is not loaded and cannot be.
    fn can_be_there(&self, component: &Component, against: Against, view: &View) -> Result<()> {
        if view.loaded.is_some() {
            return Ok(());
        }
        if let Err(why) = kernel::may_load() {
            return Err(cannot_load(component, view, why));
        }
        let has_source = match against {
            Against::Source => view.source.is_some(),
            Against::Mode => Source::of(&component.name, self.settings)?.is_some(),
        };
        match has_source {
            true => Ok(()),
            false => Err(missing(&component.name, "the container", self.settings)),
        }
    }

    /// How long to wait for who works on a profile: for two runs of the compiler, or three.
    fn waiting(&self) -> Duration {
        self.limit.saturating_mul(3)
    }

    /// Loads a profile as its source says, whatever the kernel holds, if it may be replaced.
    ///
    /// # Errors
    /// Where there is no source, or where it cannot or may not be loaded.
    pub fn load(&self, name: &ProfileName, word: Word) -> Result<(Loaded, Change)> {
        let component = Component {
            name: name.clone(),
            wanted: Wanted::Any,
        };
        if let Err(why) = kernel::may_load() {
            let view = self.view(name, Against::Mode)?;
            return Err(cannot_load(&component, &view, why));
        }
        let nowhere = || missing(name, "the command line", self.settings);
        if Source::of(name, self.settings)?.is_none() {
            return Err(nowhere());
        }
        let locks = Locks::of(name, self.waiting())?;
        let _together = locks.shared()?;
        let _alone = locks.loading(self.waiting()).alone()?;
        let view = self.view(name, Against::Source)?;
        let source = view.source.clone().ok_or_else(nowhere)?;
        self.load_from(&component, &source, view, |why| match word {
            Word::Person => Ok(()),
            Word::Settings => self.may_reload(&source, why),
        })
    }

    /// The profile, if the kernel has it as it must be.
    fn right(&self, component: &Component, against: Against, view: &View) -> Option<Loaded> {
        let loaded = view.loaded.as_ref()?;
        if !component.wanted.met_by(loaded.mode) {
            return None;
        }
        let remembered = view.remembered.as_ref();
        let source = view.source.as_ref().filter(|_| against == Against::Source);
        let Some(source) = source.filter(|s| s.ours && s.disabled.is_none()) else {
            let place = remembered.and_then(|r| r.directory(component.name.as_str()));
            if place != Some(&loaded.directory) {
                remember_place(component, loaded);
            }
            return Some(loaded.clone());
        };
        // Who may not load may not read what was compiled either: what is there is used.
        let as_built = kernel::may_load().is_err()
            || remembered.is_some_and(|r| {
                let built = r.built.as_ref();
                r.declares(&component.name)
                    && r.is_held(self.kernel)
                    && built.is_some_and(|b| b.is_current(source))
            });
        as_built.then(|| loaded.clone())
    }
}

/// Remembers where the kernel has a profile that is not ours to build.
fn remember_place(component: &Component, loaded: &Loaded) {
    let held = Held::of(component.name.as_str(), loaded);
    Remembered::new(&component.name, vec![held], None, None).keep();
}

/// The error for a process that may not load what is missing.
fn cannot_load(component: &Component, view: &View, why: CannotLoad) -> Error {
    let name = &component.name;
    let state = match &view.loaded {
        Some(loaded) => format!("is loaded in {} mode", loaded.mode),
        None => "is not loaded".to_owned(),
    };
    let why = format!("the profile {name} {state}, and {why}");
    Error::new(Kind::Policy, why).with_remedy(format!(
        "an administrator must run: oci-apparmor load {name}"
    ))
}

//! The profiles of this node: their sources, what the kernel has of them, and what uses them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::report::progress::Progress;
use crate::report::users::Users;
use oci_apparmor::apparmor::loaded::{Loaded, Mode};
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::Result;
use oci_apparmor::profiles::source::listing::{self, Listing};
use oci_apparmor::profiles::{Drift, Source, Store};
use oci_apparmor::settings::Settings;

/// One profile, or one file that cannot be used.
#[derive(Debug)]
pub(crate) struct ProfileStatus {
    pub(crate) name: Option<String>,
    pub(crate) path: Option<PathBuf>,
    pub(crate) source: Option<Source>,
    pub(crate) loaded: Option<Loaded>,
    pub(crate) drift: Drift,
    pub(crate) containers: Vec<String>,
    /// The containers that run without it, because it was removed.
    pub(crate) lost: Vec<String>,
    pub(crate) processes: usize,
}

/// What profiles are looked up in.
pub(crate) struct ProfileSearch<'a> {
    pub(crate) store: &'a Store<'a>,
    pub(crate) settings: &'a Settings,
    pub(crate) users: &'a Users,
}

impl ProfileSearch<'_> {
    /// Profiles with a source of this node, those that its settings name, and those that containers
    /// need; with `all`, everything else that the kernel holds.
    pub(crate) fn everything(&self, all: bool, progress: &Progress) -> Result<Vec<ProfileStatus>> {
        let Listing { profiles, unusable } = listing::sources(self.settings);
        let mut names: BTreeSet<ProfileName> =
            profiles.into_iter().map(|listed| listed.name).collect();
        names.extend(listing::named(self.settings).map(ProfileName::root));
        let used = self.users.profiles();
        names.extend(used.filter_map(|name| ProfileName::parse(name).ok()));
        let mut others: BTreeMap<String, Loaded> = BTreeMap::new();
        if all {
            for (name, loaded) in self.store.kernel().all()? {
                match ProfileName::parse(&name) {
                    Ok(name) => drop(names.insert(name)),
                    // No container can ask for it, but it is loaded.
                    Err(_) => drop(others.insert(name, loaded)),
                }
            }
        }
        let mut found = self.all(&Vec::from_iter(names), progress)?;
        found.extend(others.into_iter().map(|(name, loaded)| ProfileStatus {
            processes: self.users.processes(&name),
            name: Some(name),
            loaded: Some(loaded),
            ..ProfileStatus::nothing()
        }));
        found.extend(unusable.into_iter().map(|(path, e)| ProfileStatus {
            path: Some(path),
            drift: Drift::Unknown(e.to_string()),
            ..ProfileStatus::nothing()
        }));
        Ok(found)
    }

    /// These profiles.
    pub(crate) fn all(
        &self,
        names: &[ProfileName],
        progress: &Progress,
    ) -> Result<Vec<ProfileStatus>> {
        let mut found = Vec::with_capacity(names.len());
        for (done, name) in names.iter().enumerate() {
            progress.step(done, names.len(), name.as_str());
            found.push(self.one(name)?);
        }
        Ok(found)
    }

    fn one(&self, name: &ProfileName) -> Result<ProfileStatus> {
        let source = Source::of(name, self.settings)?;
        let loaded = self.store.loaded(name)?;
        let drift = match &source {
            Some(source) => self.store.drift(name, source, loaded.as_ref())?,
            None => Drift::None,
        };
        let owned = |ids: Vec<&str>| ids.into_iter().map(str::to_owned).collect();
        Ok(ProfileStatus {
            name: Some(name.to_string()),
            path: source.as_ref().map(|s| s.path.clone()),
            source,
            loaded,
            drift,
            containers: owned(self.users.containers(name.as_str())),
            lost: owned(self.users.lost(name.as_str())),
            processes: self.users.processes(name.as_str()),
        })
    }
}

/// What `--json` prints of a profile.
#[derive(Debug, Serialize)]
pub(crate) struct ProfileJson<'p> {
    name: Option<&'p str>,
    source: Option<&'p Path>,
    disabled: Option<String>,
    force_complain: bool,
    loaded: bool,
    mode: Option<Mode>,
    drift: Option<&'static str>,
    why: Option<&'p str>,
    containers: &'p [String],
    lost: &'p [String],
    processes: usize,
}

impl ProfileStatus {
    fn nothing() -> Self {
        Self {
            name: None,
            path: None,
            source: None,
            loaded: None,
            drift: Drift::None,
            containers: Vec::new(),
            lost: Vec::new(),
            processes: 0,
        }
    }

    /// The drift in one word, and why it is not known.
    pub(crate) fn drift(&self) -> (Option<&'static str>, Option<&str>) {
        match &self.drift {
            Drift::None => (None, None),
            Drift::NotLoaded => (Some("not loaded"), None),
            Drift::Mode => (Some("mode"), None),
            Drift::Content => (Some("content"), None),
            Drift::Children(which) => (Some("children"), Some(which)),
            Drift::Unknown(why) => (Some("unknown"), Some(why)),
        }
    }

    /// Why the profile is not to be loaded.
    pub(crate) fn disabled(&self) -> Option<String> {
        Some(self.source.as_ref()?.disabled.as_ref()?.to_string())
    }

    /// What `--json` prints of it.
    pub(crate) fn shown(&self) -> ProfileJson<'_> {
        let (drift, why) = self.drift();
        ProfileJson {
            name: self.name.as_deref(),
            source: self.path.as_deref(),
            disabled: self.disabled(),
            force_complain: self.source.as_ref().is_some_and(|s| s.complain),
            loaded: self.loaded.is_some(),
            mode: self.loaded.as_ref().map(|l| l.mode),
            drift,
            why,
            containers: &self.containers,
            lost: &self.lost,
            processes: self.processes,
        }
    }
}

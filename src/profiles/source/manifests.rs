//! The profiles in the `AppArmorProfile` manifests of the first profile directory.
//!
//! A file may define many profiles, and its name says nothing about them. So the result of
//! reading them is kept in `/run`, and is valid as long as neither the directory nor a manifest
//! has changed, by stat(2). Only files that changed are rendered again.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::apparmor::name::ProfileName;
use crate::error::{Error, Result};
use crate::fs::digest;
use crate::fs::fingerprint::{Fingerprint, unchanged};
use crate::profiles::lock::LockFile;
use crate::profiles::source::manifest::{ManifestProfile, manifests_in};
use crate::profiles::source::render::{LIMITS, render};
use crate::profiles::state;
use crate::report;

/// The version of the format. Files of another version are ignored.
const VERSION: u32 = 2;

/// The name of the file in `/run`, and of the lock.
const NAME: &str = "manifests";

/// All profiles in the manifests of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifests {
    version: u32,
    directory: PathBuf,
    #[serde(rename = "stamp")]
    fingerprint: Fingerprint,
    files: Vec<(PathBuf, Fingerprint)>,
    /// Whether equal fingerprints prove that nothing has changed.
    settled: bool,
    /// The profiles, each with its file.
    pub names: BTreeMap<ProfileName, PathBuf>,
    /// The files that cannot be rendered at all, and why.
    pub broken: BTreeMap<PathBuf, String>,
    /// Whether two files define the same profile. Then neither file can be reused unread.
    clash: bool,
    /// The profiles that were just rendered. In `/run` each profile has a file of its own, because
    /// a container needs only one of them.
    #[serde(skip)]
    profiles: BTreeMap<ProfileName, ManifestProfile>,
}

impl Manifests {
    /// The profiles in the manifests of `directory`; none are looked for if it still is as
    /// `manifest_free` says.
    ///
    /// # Errors
    /// If the directory cannot be read, or if another process holds the lock for too long.
    pub(super) fn of(directory: &Path, manifest_free: Option<&Fingerprint>) -> Result<Self> {
        let failed = |e: &io::Error| Error::io("look at", directory, e);
        let fingerprint = Fingerprint::at(directory).map_err(|e| failed(&e))?;
        let empty = Self {
            version: VERSION,
            directory: directory.to_owned(),
            settled: fingerprint.is_settled(SystemTime::now()),
            fingerprint: fingerprint.clone(),
            files: Vec::new(),
            names: BTreeMap::new(),
            profiles: BTreeMap::new(),
            broken: BTreeMap::new(),
            clash: false,
        };
        if fingerprint == Fingerprint::ABSENT || manifest_free == Some(&fingerprint) {
            return Ok(empty);
        }
        let kept = || {
            state::read::<Self>(NAME)
                .filter(|kept| kept.directory == directory && kept.fingerprint == fingerprint)
                .filter(Self::is_current)
        };
        if let Some(kept) = kept() {
            return Ok(kept);
        }
        let files = manifests_in(directory).map_err(|e| failed(&e))?;
        if files.is_empty() {
            if empty.settled {
                state::write(NAME, &empty);
            }
            return Ok(empty);
        }
        // Of many containers that start at once, one reads the files.
        let _lock = LockFile::named(NAME, LIMITS.time.saturating_mul(3))?.exclusive()?;
        if let Some(kept) = kept() {
            return Ok(kept);
        }
        Ok(empty.read(files))
    }

    /// The directory, if it has no manifest and every change of that would be seen.
    pub(super) fn none_in(&self) -> Option<Fingerprint> {
        (self.files.is_empty() && self.settled).then(|| self.fingerprint.clone())
    }

    fn is_current(&self) -> bool {
        self.version == VERSION && self.settled && unchanged(&self.files)
    }

    /// Renders the files that have changed, and writes the result to `/run`.
    fn read(mut self, files: Vec<PathBuf>) -> Self {
        let started = SystemTime::now();
        let before = state::read::<Self>(NAME)
            .filter(|m| m.version == VERSION && m.directory == self.directory);
        for path in files {
            let (fingerprint, found) = match before.as_ref().and_then(|b| b.reuse(&path)) {
                Some(unchanged) => unchanged,
                None => match render(&path) {
                    Ok(rendered) => rendered,
                    Err(e) => self.add_broken(&path, &e, before.as_ref()),
                },
            };
            self.settled &= fingerprint.is_settled(started);
            self.files.push((path, fingerprint));
            for (name, profile) in found {
                self.add(name, profile);
            }
        }
        for (name, profile) in &self.profiles {
            self.names.insert(name.clone(), profile.path.clone());
            state::write(&file_of(name), profile);
        }
        for (name, _) in before.into_iter().flat_map(|b| b.names) {
            if !self.names.contains_key(&name) {
                state::remove(&file_of(&name));
            }
        }
        state::write(NAME, &self);
        self
    }

    /// The profile of this name, if a manifest defines it.
    pub(super) fn profile(&self, name: &ProfileName) -> Option<ManifestProfile> {
        let path = self.names.get(name)?;
        if let Some(profile) = self.profiles.get(name) {
            return Some(profile.clone());
        }
        let (_, fingerprint) = self.files.iter().find(|(known, _)| known == path)?;
        let kept = state::read::<ManifestProfile>(&file_of(name));
        if let Some(kept) = kept.filter(|p| p.path == *path && p.fingerprint == *fingerprint) {
            return Some(kept);
        }
        // The file in /run was removed. A manifest defines the profile, so after a failure the
        // answer must be an error, and not that there is no such profile.
        let why = match render(path) {
            Ok((_, found)) => match found.into_iter().find(|(found, _)| found == name) {
                Some((_, profile)) => return Some(profile),
                None => "it no longer defines this profile".to_owned(),
            },
            Err(e) => e.to_string(),
        };
        Some(ManifestProfile {
            path: path.clone(),
            fingerprint: fingerprint.clone(),
            complain: false,
            disabled: false,
            text: Err(why),
        })
    }

    fn add(&mut self, name: ProfileName, profile: ManifestProfile) {
        if let Some(other) = self.profiles.get_mut(&name) {
            other.text = Err(format!(
                "{} and {} define the same profile",
                other.path.display(),
                profile.path.display()
            ));
            self.clash = true;
            return;
        }
        self.profiles.insert(name, profile);
    }

    /// Notes a file that cannot be rendered. Profiles that it defined before are returned as
    /// unusable, so that no container runs under an outdated one.
    fn add_broken(
        &mut self,
        path: &Path,
        why: &Error,
        before: Option<&Self>,
    ) -> (Fingerprint, Vec<(ProfileName, ManifestProfile)>) {
        report::notice(&format!("cannot read {}: {why}", path.display()));
        self.broken.insert(path.to_owned(), why.to_string());
        let fingerprint = Fingerprint::at(path).unwrap_or(Fingerprint::ABSENT);
        let mut old = before.map(|b| b.defined_in(path)).unwrap_or_default();
        for (_, profile) in &mut old {
            profile.text = Err(why.to_string());
            profile.fingerprint = fingerprint.clone();
        }
        (fingerprint, old)
    }

    /// The profiles in a file that has not changed since it was read.
    fn reuse(&self, path: &Path) -> Option<(Fingerprint, Vec<(ProfileName, ManifestProfile)>)> {
        let (_, then) = self.files.iter().find(|(known, _)| known == path)?;
        let same = Fingerprint::at(path).is_ok_and(|now| now == *then);
        if !(self.settled && same) || self.clash || self.broken.contains_key(path) {
            return None;
        }
        Some((then.clone(), self.defined_in(path)))
    }

    fn defined_in(&self, path: &Path) -> Vec<(ProfileName, ManifestProfile)> {
        let names = self.names.iter().filter(|(_, of)| *of == path);
        names
            .filter_map(|(name, _)| Some((name.clone(), self.profile(name)?)))
            .collect()
    }
}

/// The name of the file in `/run` for a profile.
fn file_of(name: &ProfileName) -> String {
    format!("manifest-{}", digest::short(name.as_str()))
}

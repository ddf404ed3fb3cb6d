//! What was known about a profile when it was last found correct. With it, the next container
//! needs only a few calls of stat(2) and the revision of the kernel's policy.
//!
//! It is a cache: it is compared with the kernel and the disk before it is used.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::apparmor::kernel::{Kernel, Revision};
use crate::apparmor::loaded::{Loaded, Mode};
use crate::apparmor::name::ProfileName;
use crate::error::Result;
use crate::fs::digest;
use crate::fs::fingerprint::Fingerprint;
use crate::profiles::compile::BuildInfo;
use crate::profiles::source::Source;
use crate::profiles::state;

/// The version of the format. Files of another version are ignored.
const VERSION: u32 = 3;

/// What is known about a top-level profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    version: u32,
    name: ProfileName,
    /// The profile and all children that the kernel had.
    #[serde(rename = "held")]
    pub profiles: Vec<RememberedProfile>,
    /// The kernel's revision at that time.
    pub revision: Option<Revision>,
    /// The first profile directory, if it had no manifest.
    manifest_free: Option<Fingerprint>,
    /// What the profile was compiled from. `None` if only its directory is known.
    #[serde(rename = "built")]
    pub build: Option<BuildInfo>,
}

/// A loaded profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RememberedProfile {
    pub name: String,
    pub directory: String,
    pub mode: Mode,
    pub hash: Option<String>,
    /// Whether it is an empty profile, in place of a child that the source does not declare.
    #[serde(rename = "closed")]
    pub is_empty: bool,
}

impl Remembered {
    pub(super) fn new(
        name: &ProfileName,
        profiles: Vec<RememberedProfile>,
        revision: Option<Revision>,
        source: Option<&Source>,
        build: Option<BuildInfo>,
    ) -> Self {
        Self {
            version: VERSION,
            name: name.root(),
            profiles,
            revision,
            manifest_free: source.and_then(Source::manifest_free).cloned(),
            build,
        }
    }

    /// What is known about this profile or, for a child, about its top-level profile.
    pub(super) fn of(name: &ProfileName) -> Option<Self> {
        let name = name.root();
        state::read::<Self>(&file_of(&name)).filter(|r| r.version == VERSION && r.name == name)
    }

    /// Writes it to `/run`, best effort.
    pub(super) fn keep(&self) {
        state::write(&file_of(&self.name), self);
    }

    /// The same, as found correct again with this source. The kernel had this revision before it was
    /// looked at.
    pub(super) fn again(&self, revision: Option<Revision>, source: &Source) -> Self {
        Self {
            revision,
            manifest_free: source.manifest_free().cloned(),
            ..self.clone()
        }
    }

    /// The first profile directory, if it had no manifest.
    pub(super) fn manifest_free(&self) -> Option<&Fingerprint> {
        self.manifest_free.as_ref()
    }

    /// Whether the kernel, which has this revision, has not changed any profile since.
    pub(super) fn is_of_revision(&self, revision: Option<Revision>) -> bool {
        self.revision.is_some() && self.revision == revision
    }

    /// The profile or child of this name that the kernel had.
    pub(super) fn profile(&self, name: &str) -> Option<&RememberedProfile> {
        self.profiles.iter().find(|known| known.name == name)
    }

    /// The directory of a profile in the kernel.
    pub(super) fn directory(&self, name: &str) -> Option<&str> {
        Some(&self.profile(name)?.directory)
    }

    /// Whether the source declares this profile or child.
    pub(super) fn declares(&self, name: &ProfileName) -> bool {
        let mut profiles = self.profiles.iter();
        profiles.any(|known| known.name == name.as_str() && !known.is_empty)
    }

    /// Whether the kernel, which has this revision, still has exactly these profiles. That is so if
    /// the revision is the same, or if every profile has the same mode and hash and there is no other
    /// child. If the kernel has no hashes, only the revision counts.
    pub(super) fn is_unchanged(&self, kernel: &Kernel, revision: Option<Revision>) -> bool {
        let same = |known: &RememberedProfile| {
            known.hash.is_some()
                && kernel
                    .at(&known.directory, &known.name)
                    .is_some_and(|now| now.mode == known.mode && now.hash == known.hash)
        };
        !self.profiles.is_empty()
            && (self.is_of_revision(revision)
                || self.profiles.iter().all(same) && self.has_all_children(kernel))
    }

    /// Whether the profile has no other children than these.
    fn has_all_children(&self, kernel: &Kernel) -> bool {
        let Some(directory) = self.directory(self.name.as_str()) else {
            return false;
        };
        let is_known = |child: &String| self.profiles.iter().any(|p| p.directory == *child);
        kernel
            .children(directory)
            .is_ok_and(|children| children.iter().all(is_known))
    }
}

impl RememberedProfile {
    pub(super) fn of(name: &str, loaded: &Loaded) -> Self {
        Self {
            name: name.to_owned(),
            directory: loaded.directory.clone(),
            mode: loaded.mode,
            hash: loaded.hash.clone(),
            is_empty: false,
        }
    }

    pub(super) fn loaded(&self) -> Loaded {
        Loaded {
            directory: self.directory.clone(),
            mode: self.mode,
            hash: self.hash.clone(),
        }
    }
}

fn file_of(name: &ProfileName) -> String {
    digest::short(name.as_str())
}

/// Forgets a profile.
pub(super) fn forget(name: &ProfileName) {
    state::remove(&file_of(&name.root()));
}

/// Forgets all profiles that are not loaded. Returns how many.
///
/// # Errors
/// If the files cannot be listed.
pub(super) fn gc(kernel: &Kernel) -> Result<u64> {
    let mut count: u64 = 0;
    for path in state::list()? {
        let name = path.file_name().and_then(|name| name.to_str());
        let known = name.and_then(state::read::<Remembered>);
        let is_loaded = |p: &RememberedProfile| kernel.at(&p.directory, &p.name).is_some();
        let is_stale = known.is_some_and(|known| !known.profiles.iter().any(is_loaded));
        if is_stale && fs::remove_file(&path).is_ok() {
            count = count.saturating_add(1);
        }
    }
    Ok(count)
}

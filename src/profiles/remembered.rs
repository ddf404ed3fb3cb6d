//! What is remembered of a profile that was found right, so that the next container is answered
//! by a few calls of stat(2) and three small files of the kernel.
//!
//! It is a memory, never the truth: every part of it is compared with the kernel and the disk
//! before it is used, and where it is lost or wrong the long way is gone again.

use std::fs;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::apparmor::kernel::Kernel;
use crate::apparmor::loaded::{Loaded, Mode};
use crate::apparmor::name::ProfileName;
use crate::error::Result;
use crate::fs::fingerprint::Stamp;
use crate::fs::run;
use crate::profiles::digest;
use crate::profiles::source::Source;

/// The version of the format; another one counts as nothing remembered.
const VERSION: u32 = 2;

/// Where these files are, below our directory in `/run`.
const DIRECTORY: &str = "profiles";

/// More than any of these files.
const MAX: u64 = 8 << 20;

/// What is remembered of one top-level profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    version: u32,
    name: ProfileName,
    /// It and all children that the kernel has of it, as the kernel held them.
    pub held: Vec<Held>,
    /// The kernel's revision then.
    pub revision: Option<u64>,
    /// What it was compiled from; nothing where only its place in the kernel is remembered.
    pub built: Option<Built>,
}

/// One profile in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub name: String,
    pub directory: String,
    pub mode: Mode,
    pub hash: Option<String>,
    /// Whether it is a child that its source does not declare, and that allows nothing.
    pub closed: bool,
}

/// What a profile was compiled from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Built {
    /// The file.
    pub source: PathBuf,
    /// Whether it was forced into complain mode.
    pub complain: bool,
    /// The digest of the text and of all that it includes.
    pub content: String,
    /// Under which key its policy is kept.
    pub key: String,
    /// The source and all that it includes.
    pub files: Vec<(PathBuf, Stamp)>,
    /// The compiler and its configuration.
    pub toolchain: Vec<(PathBuf, Stamp)>,
    /// Whether these stamps prove that nothing changed.
    pub settled: bool,
}

impl Remembered {
    pub(crate) fn new(
        name: &ProfileName,
        held: Vec<Held>,
        revision: Option<u64>,
        built: Option<Built>,
    ) -> Self {
        Self {
            version: VERSION,
            name: name.root(),
            held,
            revision,
            built,
        }
    }

    /// What is remembered of this profile, or of its parent.
    pub(crate) fn of(name: &ProfileName) -> Option<Self> {
        let name = name.root();
        read_file::<Self>(&file_of(&name)).filter(|r| r.version == VERSION && r.name == name)
    }

    /// Remembers it. Where that fails, the next container goes the long way.
    pub(crate) fn keep(&self) {
        write_file(&file_of(&self.name), self);
    }

    /// The directory of this profile in the kernel.
    pub(crate) fn directory(&self, name: &str) -> Option<&str> {
        let held = self.held.iter().find(|held| held.name == name)?;
        Some(&held.directory)
    }

    /// Whether this profile, or child, was among what the source declares.
    pub(crate) fn declares(&self, name: &ProfileName) -> bool {
        let mut held = self.held.iter();
        held.any(|held| held.name == name.as_str() && !held.closed)
    }

    /// Whether the kernel still holds just that: nothing at all has changed in there, or these
    /// have kept their hashes and there is no other child. (Where it keeps none, a change of
    /// anything counts.)
    pub(crate) fn is_held(&self, kernel: &Kernel) -> bool {
        let same = |held: &Held| {
            held.hash.is_some()
                && kernel
                    .at(&held.directory, &held.name)
                    .is_some_and(|now| now.mode == held.mode && now.hash == held.hash)
        };
        !self.held.is_empty()
            && (self.revision.is_some() && kernel.revision() == self.revision
                || self.held.iter().all(same) && self.are_all(kernel))
    }

    /// Whether the profile has no other children than these.
    fn are_all(&self, kernel: &Kernel) -> bool {
        let Some(directory) = self.directory(self.name.as_str()) else {
            return false;
        };
        let known = |child: &String| self.held.iter().any(|held| held.directory == *child);
        kernel
            .children(directory)
            .is_ok_and(|children| children.iter().all(known))
    }
}

impl Held {
    pub(crate) fn of(name: &str, loaded: &Loaded) -> Self {
        Self {
            name: name.to_owned(),
            directory: loaded.directory.clone(),
            mode: loaded.mode,
            hash: loaded.hash.clone(),
            closed: false,
        }
    }

    pub(crate) fn loaded(&self) -> Loaded {
        Loaded {
            directory: self.directory.clone(),
            mode: self.mode,
            hash: self.hash.clone(),
        }
    }
}

impl Built {
    /// Whether this is the source, and all files are what they were.
    pub(crate) fn is_current(&self, source: &Source) -> bool {
        self.settled
            && !source.is_refused()
            && self.source == source.path
            && self.complain == source.complain
            && same(&self.files)
            && same(&self.toolchain)
    }
}

fn same(stamps: &[(PathBuf, Stamp)]) -> bool {
    let same = |(path, stamp): &(PathBuf, Stamp)| Stamp::at(path).is_ok_and(|now| now == *stamp);
    stamps.iter().all(same)
}

fn file_of(name: &ProfileName) -> String {
    digest(name.as_str())
}

/// Reads one of our own files.
pub(crate) fn read_file<T: DeserializeOwned>(name: &str) -> Option<T> {
    let path = run::path().ok()?.join(DIRECTORY).join(name);
    serde_json::from_slice(&run::read(&path, MAX)?).ok()
}

/// Writes one of our own files, best effort.
pub(crate) fn write_file<T: Serialize>(name: &str, value: &T) {
    let Ok(base) = run::path() else { return };
    let Ok(text) = serde_json::to_vec(value) else {
        return;
    };
    let path = base.join(DIRECTORY).join(name);
    if let Err(e) = run::replace(&path, &text) {
        log::debug!("{e}");
    }
}

/// Removes one of our own files, best effort.
pub(crate) fn remove_file(name: &str) {
    if let Ok(base) = run::path() {
        let _ = fs::remove_file(base.join(DIRECTORY).join(name));
    }
}

/// Forgets a profile.
pub(crate) fn forget(name: &ProfileName) {
    remove_file(&file_of(&name.root()));
}

/// Forgets all profiles that the kernel does not hold any more; returns how many.
///
/// # Errors
/// Where they cannot be listed.
pub(crate) fn tidy(kernel: &Kernel) -> Result<u64> {
    let directory = run::path()?.join(DIRECTORY);
    let mut count: u64 = 0;
    for path in run::list(&directory)? {
        let name = path.file_name().and_then(|name| name.to_str());
        let known = name.and_then(read_file::<Remembered>);
        let is_held = |held: &Held| kernel.at(&held.directory, &held.name).is_some();
        let is_stale = known.is_some_and(|known| !known.held.iter().any(is_held));
        if is_stale && fs::remove_file(&path).is_ok() {
            count = count.saturating_add(1);
        }
    }
    Ok(count)
}

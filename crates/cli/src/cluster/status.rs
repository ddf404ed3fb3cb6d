//! What `sync` found, for the agent and for people.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::sources::public_directory;
use oci_apparmor::error::{Error, Kind, Result, foreign};
use oci_apparmor::fs::replace::{self, Options};
use oci_apparmor::fs::{temporary, trusted};

/// The file that the agent reads.
const FILE: &str = "/var/lib/oci-apparmor/status/status.json";

/// More than it has for 10,000 profiles.
const MAX: u64 = 8 << 20;

/// The version of its format.
const VERSION: u32 = 1;

/// The state of a profile of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SyncState {
    /// The kernel has it as its source says.
    Loaded,
    /// It has a source, and is not loaded.
    Ready,
    /// The loaded profile differs from its source.
    Drift,
    /// It is not to be loaded.
    Disabled,
    /// Its file is not used. A source that was accepted before stays.
    Refused,
}

impl SyncState {
    /// The state as it is printed.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Ready => "not loaded",
            Self::Drift => "differs",
            Self::Disabled => "disabled",
            Self::Refused => "refused",
        }
    }
}

/// A profile of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SyncedProfile {
    /// Its name.
    pub(crate) name: String,
    /// Its state.
    pub(crate) state: SyncState,
    /// Why it is in this state, at most a few hundred bytes.
    pub(crate) reason: Option<String>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SyncStatus {
    version: u32,
    /// When it was found, as RFC 3339 writes it.
    time: String,
    /// The profiles, sorted by name.
    pub(crate) profiles: Vec<SyncedProfile>,
    /// How many files have no name that a profile's file can have.
    pub(crate) rejected: usize,
    /// Whether the spool had everything that the cluster has.
    pub(crate) complete: bool,
    /// The sources that were removed.
    pub(crate) removed: Vec<String>,
    /// Why the spool as a whole was not used.
    pub(crate) refused: Option<String>,
    /// The exit code of the first failure of this node itself.
    #[serde(skip)]
    pub(crate) failure: Option<u8>,
}

/// What becomes of each profile.
#[derive(Debug, Default)]
pub(super) struct Outcomes(BTreeMap<String, (SyncState, Option<String>)>);

impl Outcomes {
    pub(super) fn set(&mut self, name: &str, state: SyncState, reason: Option<String>) {
        // What comes from the parser or from a manifest is bounded already.
        let reason = reason.map(|reason| foreign(&reason));
        self.0.insert(name.to_owned(), (state, reason));
    }

    pub(super) fn status(&self) -> SyncStatus {
        let one =
            |(name, (state, reason)): (&String, &(SyncState, Option<String>))| SyncedProfile {
                name: name.clone(),
                state: *state,
                reason: reason.clone(),
            };
        SyncStatus {
            version: VERSION,
            time: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            profiles: self.0.iter().map(one).collect(),
            rejected: 0,
            complete: false,
            removed: Vec::new(),
            refused: None,
            failure: None,
        }
    }
}

impl SyncStatus {
    /// What the last run of `sync` found; nothing if there was none.
    pub(crate) fn last() -> Option<Self> {
        let bytes = trusted::read(Path::new(FILE), MAX).ok()?;
        let status: Self = serde_json::from_slice(&bytes).ok()?;
        (status.version == VERSION).then_some(status)
    }

    /// Writes it where the agent reads it, in one step.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&self) -> Result<()> {
        let path = Path::new(FILE);
        let directory = path.parent().unwrap_or(Path::new("/"));
        public_directory(directory)?;
        let text = serde_json::to_vec(self)
            .map_err(|e| Error::new(Kind::Internal, format!("cannot write {FILE}: {e}")))?;
        let temporary = directory.join(format!(".status.{}", temporary::mark()));
        replace::replace(path, &temporary, &text, Options::with_mode(0o644))
            .map_err(|e| Error::io("write", path, &e))
    }
}

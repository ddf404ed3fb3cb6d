//! What was installed, so that uninstalling removes that and nothing else.
//!
//! It is written before each step. While an entry is replaced, it has the digests of the old and of
//! the new contents, so it is true at any time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::root::NodeRoot;
use oci_apparmor::error::{Error, Kind, Result};

/// Beside the journals of engines: part of an image, and not lost when `/var` is emptied.
pub(super) const PATH: &str = "/etc/oci-apparmor/install.json";

/// The format's version.
const VERSION: u32 = 1;

/// What `node install` did on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InstallRecord {
    version: u32,
    /// The release that was installed last.
    pub(super) release: String,
    /// What it was installed below.
    pub(super) prefix: PathBuf,
    /// The entries, each with the contents that it may have: `sha256:` and the digest of a file, or
    /// `link:` and the target of a link.
    pub(super) entries: BTreeMap<PathBuf, Vec<String>>,
    /// The directories that were created, the outermost first.
    pub(super) directories: Vec<PathBuf>,
    /// The engine that was configured.
    pub(super) engine: Option<WiredEngine>,
}

/// An engine that calls the wrapper, or will after its restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WiredEngine {
    /// Its name on the command line.
    pub(super) name: String,
    /// The file that was changed or created.
    pub(super) configuration: PathBuf,
    /// Whether it was seen to serve the handler. If not, a failure takes the change back.
    pub(super) served: bool,
    /// Whether the API showed the handler. If not, its refusal takes the change back.
    pub(super) confirmed: bool,
    /// Whether uninstalling has taken the change back.
    pub(super) taken_back: bool,
    /// The engine's process when its file was changed last: it has not read that.
    pub(super) before: Option<String>,
}

impl InstallRecord {
    pub(super) fn new(prefix: &Path) -> Self {
        Self {
            version: VERSION,
            release: String::new(),
            prefix: prefix.to_owned(),
            entries: BTreeMap::new(),
            directories: Vec::new(),
            engine: None,
        }
    }

    /// Reads it; `None` if nothing is installed.
    ///
    /// # Errors
    /// [`Kind::Configuration`] if it cannot be read.
    pub(super) fn load(root: &NodeRoot) -> Result<Option<Self>> {
        let Some(file) = root.read(Path::new(PATH))? else {
            return Ok(None);
        };
        let failed = |why: String| {
            let path = root.on_host(Path::new(PATH));
            Error::new(
                Kind::Configuration,
                format!("{} cannot be used: {why}", path.display()),
            )
            .with_remedy(
                "use the release that wrote it, or move it away; nothing that was installed is then \
                 removed by itself",
            )
        };
        let record: Self = serde_json::from_str(&file.text).map_err(|e| failed(e.to_string()))?;
        match record.version {
            VERSION => Ok(Some(record)),
            other => Err(failed(format!(
                "its format has version {other}, not {VERSION}"
            ))),
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn store(&self, root: &NodeRoot) -> Result<()> {
        let path = Path::new(PATH);
        let old = root.read(path)?.map(|file| file.text);
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|e| Error::io("write", path, &e.into()))? + "\n";
        if old.as_ref() != Some(&text) {
            root.write(path, old.as_deref(), &text, 0o600)?;
        }
        Ok(())
    }

    /// Whether an installation of `release` was finished.
    pub(super) fn is_finished(&self, release: &str) -> bool {
        self.release == release && self.entries.values().all(|known| known.len() == 1)
    }

    /// Whether an entry with these contents is ours.
    pub(super) fn has(&self, path: &Path, contents: &str) -> bool {
        let known = self.entries.get(path);
        known.is_some_and(|known| known.iter().any(|one| one == contents))
    }

    /// Adds contents that an entry may have from now on.
    pub(super) fn add(&mut self, path: &Path, contents: String) {
        let known = self.entries.entry(path.to_owned()).or_default();
        if !known.contains(&contents) {
            known.push(contents);
        }
    }
}

//! The journal: what `configure` changed, so that `unconfigure` can undo it.
//!
//! Its files are in `/etc`, so that they are part of a configured image, and are not lost when
//! `/var` is emptied. They contain the changed lines, never whole files, which may contain
//! passwords.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::engine::diff::{self, Hunk};
use crate::engine::edit::TextFile;
use crate::engine::kind::Engine;
use crate::engine::root::NodeRoot;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::fs::digest;

/// The directory of the journal.
pub const DIRECTORY: &str = "/etc/oci-apparmor/engines";

/// The format's version.
const VERSION: u32 = 1;

/// What `configure` changed for one engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// The format's version.
    pub version: u32,
    /// The engine's name on our command line.
    pub engine: String,
    /// The file that `--config` named, or the default one.
    pub configuration: PathBuf,
    /// The name of the runtime that was added.
    pub runtime: String,
    /// The program that this runtime calls.
    pub program: PathBuf,
    /// Whether it became the engine's default runtime.
    #[serde(default)]
    pub default: bool,
    /// The default runtime before, if the changed file named it and it was replaced.
    pub former_default: Option<String>,
    /// The file that was changed or created.
    pub file: PathBuf,
    /// Whether the file was created.
    pub made: bool,
    /// The directories that were created for it.
    pub directories: Vec<PathBuf>,
    /// SHA-256 of its new text, in hexadecimal digits.
    pub sha256: String,
    /// The changed lines.
    pub hunks: Vec<Hunk>,
}

impl Journal {
    /// The journal of a change of a file from `old` to `new`.
    #[must_use]
    pub fn of(engine: Engine, configuration: &Path, old: Option<&str>, new: &TextFile) -> Self {
        Self {
            version: VERSION,
            engine: engine.name().to_owned(),
            configuration: configuration.to_owned(),
            runtime: String::new(),
            program: PathBuf::new(),
            default: false,
            former_default: None,
            file: new.path.clone(),
            made: old.is_none(),
            directories: Vec::new(),
            sha256: sha256(&new.text),
            hunks: diff::hunks(old.unwrap_or_default(), &new.text),
        }
    }

    /// The journal of an engine whose configuration is `main`; `None` if there is none.
    ///
    /// # Errors
    /// [`Kind::Configuration`] if it cannot be read.
    pub(crate) fn load(root: &NodeRoot, engine: Engine, main: &Path) -> Result<Option<Self>> {
        Self::read(root, path(engine, main))
    }

    /// The journals of all engines.
    ///
    /// # Errors
    /// As for [`Journal::load`].
    pub(crate) fn all(root: &NodeRoot) -> Result<Vec<Self>> {
        let files = root.list(Path::new(DIRECTORY)).into_iter();
        let files = files.filter(|file| file.extension().is_some_and(|e| e == "json"));
        let read = files.map(|file| Self::read(root, file));
        read.filter_map(Result::transpose).collect()
    }

    fn read(root: &NodeRoot, path: PathBuf) -> Result<Option<Self>> {
        let Some(file) = root.read(&path)? else {
            return Ok(None);
        };
        let failed = |why: String| {
            Error::new(
                Kind::Configuration,
                format!("{} cannot be used: {why}", root.on_host(&path).display()),
            )
            .with_remedy(format!(
                "run: mv {0} {0}.broken; unconfigure then removes the runtime by its name",
                root.on_host(&path).display()
            ))
        };
        let journal: Self = serde_json::from_str(&file.text).map_err(|e| failed(e.to_string()))?;
        match journal.version {
            VERSION => Ok(Some(journal)),
            other => Err(failed(format!(
                "its format has version {other}, not {VERSION}"
            ))),
        }
    }

    /// Writes the journal.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn store(&self, root: &NodeRoot, engine: Engine, main: &Path) -> Result<()> {
        let path = path(engine, main);
        let old = root.read(&path)?.map(|file| file.text);
        let text =
            serde_json::to_string_pretty(self).map_err(|e| Error::io("write", &path, &e.into()))?;
        root.write(&path, old.as_deref(), &format!("{text}\n"), 0o600)?;
        Ok(())
    }

    /// Removes the journal of an engine.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub(crate) fn forget(root: &NodeRoot, engine: Engine, main: &Path) -> Result<()> {
        root.remove(&path(engine, main), &[PathBuf::from(DIRECTORY)])
    }

    /// Whether `text` is exactly what the file became.
    #[must_use]
    pub(crate) fn made_this(&self, text: &str) -> bool {
        sha256(text) == self.sha256
    }
}

/// The journal's file. Its name has a digest of `main` if that is not the default file, because
/// several files of one engine may have been changed.
fn path(engine: Engine, main: &Path) -> PathBuf {
    let name = engine.name();
    let name = match main == engine.configuration() {
        true => format!("{name}.json"),
        false => {
            let digest = sha256(&main.to_string_lossy());
            format!("{name}-{}.json", digest.get(..16).unwrap_or_default())
        }
    };
    Path::new(DIRECTORY).join(name)
}

fn sha256(text: &str) -> String {
    digest::hex(&Sha256::digest(text))
}

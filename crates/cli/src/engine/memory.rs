//! What `configure` changed, so that `unconfigure` puts back what was there before.
//!
//! It lies below `/etc`, with the node's configuration, so that it is part of an image that was
//! configured, and not lost when `/var` is emptied. It holds the lines that were changed, never
//! whole files, which may have passwords in them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::engine::diff::{self, Hunk};
use crate::engine::place::Place;
use crate::engine::{Engine, Text};
use oci_apparmor::error::{Error, Kind, Result};

/// The directory of these files.
pub const DIRECTORY: &str = "/etc/oci-apparmor/engines";

/// The format's version.
const VERSION: u32 = 1;

/// What was changed of one engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The format's version.
    pub version: u32,
    /// The engine's name on our command line.
    pub engine: String,
    /// Its configuration: the file that `configure` was told of, or the usual one.
    pub configuration: PathBuf,
    /// The name of our runtime in it.
    pub runtime: String,
    /// The program that it calls.
    pub program: PathBuf,
    /// Whether our runtime was made the engine's default.
    #[serde(default)]
    pub default: bool,
    /// The engine's default runtime before, where the file that was changed named it, and it is
    /// ours now.
    pub former_default: Option<String>,
    /// The file that was changed or made.
    pub file: PathBuf,
    /// Whether it was made.
    pub made: bool,
    /// The directories that were made for it.
    pub directories: Vec<PathBuf>,
    /// SHA-256 of what it became, in hexadecimal digits.
    pub sha256: String,
    /// The lines that were changed.
    pub hunks: Vec<Hunk>,
}

impl Memory {
    /// What is to be remembered of a file that was `old` and is now `new`.
    #[must_use]
    pub fn of(engine: Engine, configuration: &Path, old: Option<&str>, new: &Text) -> Self {
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
            sha256: digest(&new.text),
            hunks: diff::hunks(old.unwrap_or_default(), &new.text),
        }
    }

    /// What is remembered of an engine whose configuration is `main`.
    ///
    /// # Errors
    /// [`Kind::Configuration`] where it cannot be read.
    pub fn load(place: &Place, engine: Engine, main: &Path) -> Result<Option<Self>> {
        Self::read(place, path(engine, main))
    }

    /// Everything that is remembered.
    ///
    /// # Errors
    /// As for [`Memory::load`].
    pub fn all(place: &Place) -> Result<Vec<Self>> {
        let files = place.list(Path::new(DIRECTORY)).into_iter();
        let files = files.filter(|file| file.extension().is_some_and(|e| e == "json"));
        let read = files.map(|file| Self::read(place, file));
        read.filter_map(Result::transpose).collect()
    }

    fn read(place: &Place, path: PathBuf) -> Result<Option<Self>> {
        let Some(file) = place.read(&path)? else {
            return Ok(None);
        };
        let failed = |why: String| {
            Error::new(
                Kind::Configuration,
                format!("{} cannot be used: {why}", place.here(&path).display()),
            )
            .with_remedy("move it away; our runtime is then taken out as far as it is recognised")
        };
        let memory: Self = serde_json::from_str(&file.text).map_err(|e| failed(e.to_string()))?;
        match memory.version {
            VERSION => Ok(Some(memory)),
            other => Err(failed(format!("it is of version {other}, not {VERSION}"))),
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// Where that is not possible.
    pub fn store(&self, place: &Place, engine: Engine, main: &Path) -> Result<()> {
        let path = path(engine, main);
        let old = place.read(&path)?.map(|file| file.text);
        let text =
            serde_json::to_string_pretty(self).map_err(|e| Error::io("write", &path, &e.into()))?;
        place.write(&path, old.as_deref(), &format!("{text}\n"), 0o600)?;
        Ok(())
    }

    /// Removes it.
    ///
    /// # Errors
    /// Where that is not possible.
    pub fn forget(place: &Place, engine: Engine, main: &Path) -> Result<()> {
        place.remove(&path(engine, main), &[PathBuf::from(DIRECTORY)])
    }

    /// Whether a text is what the change made, byte for byte.
    #[must_use]
    pub fn made_this(&self, text: &str) -> bool {
        digest(text) == self.sha256
    }
}

/// The file of an engine whose configuration is `main`; one of several may be elsewhere.
fn path(engine: Engine, main: &Path) -> PathBuf {
    let name = engine.name();
    let name = match main == engine.configuration() {
        true => format!("{name}.json"),
        false => {
            let digest = digest(&main.to_string_lossy());
            format!("{name}-{}.json", digest.get(..16).unwrap_or_default())
        }
    };
    Path::new(DIRECTORY).join(name)
}

fn digest(text: &str) -> String {
    use std::fmt::Write;
    let mut digits = String::with_capacity(64);
    for byte in Sha256::digest(text) {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

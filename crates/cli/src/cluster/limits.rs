//! The texts that exceeded a limit of the compiler. They are remembered until the next boot, so that
//! one slow profile does not take the time of all later runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::fs::digest::hex;
use oci_apparmor::fs::run;
use oci_apparmor::settings::Settings;

/// More than all reasons of the largest spool.
const MAX: u64 = 4 << 20;

/// The texts, and the limits that they exceeded.
#[derive(Debug)]
pub(super) struct KnownLimits {
    /// The limits that held. With others, a text is compiled again.
    limits: String,
    before: BTreeMap<String, String>,
    now: BTreeMap<String, String>,
}

fn path() -> Result<PathBuf> {
    Ok(run::path()?.join("sync"))
}

impl KnownLimits {
    /// What is known. A file that cannot be read counts as empty.
    pub(super) fn load(settings: &Settings) -> Self {
        let bytes = path().ok().and_then(|path| run::read(&path, MAX));
        let before = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            limits: format!("{} {}", settings.parser_timeout, settings.parser_memory),
            before: before.unwrap_or_default(),
            now: BTreeMap::new(),
        }
    }

    /// The limit that a text is known to exceed.
    pub(super) fn of(&mut self, origin: &str) -> Option<Error> {
        let (key, why) = self.before.remove_entry(&self.key(origin))?;
        self.now.insert(key, why.clone());
        Some(
            Error::new(Kind::DoesNotCompile, why)
                .with_remedy("simplify the profile, or raise parser_timeout or parser_memory"),
        )
    }

    /// Notes that a text exceeds a limit.
    pub(super) fn add(&mut self, origin: &str, why: &Error) {
        self.now.insert(self.key(origin), why.without_remedy());
    }

    /// Keeps what was added or asked for. The rest is forgotten.
    pub(super) fn keep(&self) {
        let done = path().and_then(|path| {
            let text = serde_json::to_vec(&self.now).unwrap_or_default();
            run::replace(&path, &text)
        });
        if let Err(e) = done {
            log::debug!("{e}");
        }
    }

    fn key(&self, origin: &str) -> String {
        hex(&Sha256::digest(format!("{} {origin}", self.limits)))
    }
}

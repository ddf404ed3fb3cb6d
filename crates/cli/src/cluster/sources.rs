//! The directory of the sources that were accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::spool::SpoolKind;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::fs::digest::hex;
use oci_apparmor::fs::replace::{self, Options};
use oci_apparmor::fs::{own, temporary, trusted};
use oci_apparmor::settings::CLUSTER_PROFILES;

/// The largest source; larger ones cannot be loaded.
const MAX: u64 = 4 << 20;

/// The largest sum of all of them.
const TOTAL: u64 = 64 << 20;

/// The start of the last line of each source.
const MARK: &str = "# oci-apparmor ";

/// The directory, and what is in it.
#[derive(Debug)]
pub(super) struct ClusterSources {
    files: BTreeMap<String, Accepted>,
}

#[derive(Debug)]
struct Accepted {
    size: u64,
    /// Its last line.
    origin: String,
}

/// What a source was made from: this version of the program, and the content of the file. A new
/// version examines every file again, because its rules may differ.
pub(super) fn origin(kind: SpoolKind, bytes: &[u8]) -> String {
    let digest = hex(&Sha256::digest(bytes));
    let version = env!("CARGO_PKG_VERSION");
    format!("{MARK}{version} {kind:?} sha256:{digest}")
}

impl ClusterSources {
    /// Opens the directory; creates it if it is missing. Temporary files of a process that was killed
    /// are removed: the caller has the lock.
    ///
    /// # Errors
    /// If it cannot be created or read, or if another user than root can write it.
    pub(super) fn open() -> Result<Self> {
        let directory = Path::new(CLUSTER_PROFILES);
        public_directory(directory)?;
        trusted::directory(directory).map_err(|e| e.about(directory, Kind::Policy))?;
        let mut files = BTreeMap::new();
        let failed = |e: io::Error| Error::io("list", directory, &e);
        for entry in fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
                continue;
            };
            if name.starts_with('.') {
                let _ = fs::remove_file(&path);
                continue;
            }
            // One that cannot be read is written again.
            let text = trusted::read(&path, MAX).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let origin = text.lines().next_back().unwrap_or_default().to_owned();
            let size = text.len() as u64;
            files.insert(name.to_owned(), Accepted { size, origin });
        }
        Ok(Self { files })
    }

    /// The names of all sources.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.files.keys().cloned().collect()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// Whether a source was made from this.
    pub(super) fn is_from(&self, name: &str, origin: &str) -> bool {
        self.files.get(name).is_some_and(|f| f.origin == origin)
    }

    /// Writes a source in one step. Its text ends with a line with its origin.
    ///
    /// # Errors
    /// If there is no room for it, or if it cannot be written. The old one is then still there.
    pub(super) fn write(&mut self, name: &str, text: &[u8], origin: &str) -> Result<()> {
        let size = text.len() as u64;
        let others = self.files.iter().filter(|(other, _)| *other != name);
        let others = others.map(|(_, f)| f.size).fold(0, u64::saturating_add);
        if size > MAX {
            let why = "its text is larger than 4 MiB";
            return Err(Error::new(Kind::Policy, why).with_remedy("shorten the profile"));
        }
        if others.saturating_add(size) > TOTAL {
            let why = "the profiles of the cluster are larger than 64 MiB together";
            return Err(
                Error::new(Kind::Policy, why).with_remedy("remove profiles from the cluster")
            );
        }
        let path = Path::new(CLUSTER_PROFILES).join(name);
        let temporary = path.with_file_name(format!(".{name}.{}", temporary::mark()));
        replace::replace(&path, &temporary, text, Options::with_mode(0o644).durable())
            .map_err(|e| Error::io("write", &path, &e))?;
        let origin = origin.to_owned();
        self.files
            .insert(name.to_owned(), Accepted { size, origin });
        Ok(())
    }

    /// Removes a source. The profile stays in the kernel.
    ///
    /// # Errors
    /// If that fails.
    pub(super) fn remove(&mut self, name: &str) -> Result<()> {
        let path = Path::new(CLUSTER_PROFILES).join(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &path, &e)),
            _ => {
                self.files.remove(name);
                Ok(())
            }
        }
    }
}

/// Makes sure that a directory of root exists that everyone can read.
///
/// # Errors
/// If it cannot be created, or if another user can write it.
pub(crate) fn public_directory(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    for directory in [parent, path] {
        let is_new = !directory.exists();
        own::directory(directory, 0o755)?;
        if is_new {
            // Whatever the umask is.
            fs::set_permissions(directory, Permissions::from_mode(0o755))
                .map_err(|e| Error::io("change the mode of", directory, &e))?;
        }
    }
    Ok(())
}

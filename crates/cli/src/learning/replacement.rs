//! Replaces the source of a profile, and keeps the old one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::fs::replace::{self, Options};
use oci_apparmor::fs::{own, temporary, trusted};
use oci_apparmor::profiles::Source;
use oci_apparmor::settings::{CLUSTER_PROFILES, Settings};

/// Where replaced sources are kept. No profile directory, so nothing loads them.
const KEPT: &str = "/var/lib/oci-apparmor/replaced";

/// More than the largest source.
const MAX: u64 = 8 << 20;

/// The file that a new text goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceTarget {
    /// The file.
    pub path: PathBuf,
    /// The source that the file is a changed copy of, if it is another one.
    pub copy_of: Option<PathBuf>,
    /// What it must contain now; `None`: it must not exist.
    expected: Option<Vec<u8>>,
}

/// A file that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replaced {
    /// Where its old contents are.
    pub kept: Option<PathBuf>,
    /// The command that undoes it.
    pub undo: String,
}

impl SourceTarget {
    /// The file for a new text of this source, which has these bytes. Only files of the first profile
    /// directory are changed: other programs own the others.
    ///
    /// # Errors
    /// If there is no profile directory.
    pub(crate) fn of(
        name: &ProfileName,
        source: &Source,
        bytes: Vec<u8>,
        settings: &Settings,
    ) -> Result<Self> {
        // `sync` would write a source of the cluster again.
        if source.ours && !source.is_from_cluster() {
            return Ok(Self {
                path: source.path.clone(),
                copy_of: None,
                expected: Some(bytes),
            });
        }
        Ok(Self {
            path: new_source(name, settings)?,
            copy_of: Some(source.path.clone()),
            expected: None,
        })
    }

    /// A source that does not exist yet.
    ///
    /// # Errors
    /// As for [`SourceTarget::of`].
    pub(crate) fn new(name: &ProfileName, settings: &Settings) -> Result<Self> {
        Ok(Self {
            path: new_source(name, settings)?,
            copy_of: None,
            expected: None,
        })
    }

    /// What was done when it was replaced.
    pub(crate) fn said(&self) -> String {
        let path = self.path.display();
        let Some(original) = &self.copy_of else {
            return format!("replaced {path}");
        };
        let original = original.display();
        let copy = format!("wrote {path}, a changed copy that comes before {original}");
        match self.is_of_cluster() {
            true => format!(
                "{copy}; changes in the cluster have no effect on this node while it is there"
            ),
            false => copy,
        }
    }

    /// Whether the file is a changed copy of a source that comes from the cluster.
    fn is_of_cluster(&self) -> bool {
        let original = self.copy_of.as_deref();
        original.is_some_and(|path| path.starts_with(CLUSTER_PROFILES))
    }

    /// Writes the new contents in one step. The file keeps its owner and its mode.
    ///
    /// # Errors
    /// If the file is not as expected any more, or cannot be replaced. It is then as it was.
    pub(crate) fn replace(&self, name: &ProfileName, new: &[u8]) -> Result<Replaced> {
        let changed = || {
            let path = self.path.display();
            Error::new(
                Kind::Policy,
                format!("{path} has changed since it was read"),
            )
            .with_remedy("run the command again")
        };
        let found = match trusted::read_with_metadata(&self.path, MAX) {
            Ok((bytes, meta)) => Some((bytes, meta)),
            Err(trusted::TrustError::Missing) => None,
            Err(e) => return Err(e.about(&self.path, Kind::Policy)),
        };
        let shown = shell(&self.path);
        match (found, &self.expected) {
            (Some((bytes, meta)), Some(expected)) if bytes == *expected => {
                let kept = keep(&self.path, &bytes, Options::like(&meta))?;
                self.write(new, Options::like(&meta))?;
                Ok(Replaced {
                    undo: format!("cp -p {} {shown} && oci-apparmor load {name}", shell(&kept)),
                    kept: Some(kept),
                })
            }
            (None, None) => {
                self.write(new, Options::with_mode(0o644))?;
                let undo = match &self.copy_of {
                    // `sync` has removed the original, because the copy has the same name.
                    Some(_) if self.is_of_cluster() => {
                        format!("rm {shown} && oci-apparmor sync")
                    }
                    Some(_) => format!("rm {shown} && oci-apparmor load {name}"),
                    None => format!("oci-apparmor unload {name} && rm {shown}"),
                };
                Ok(Replaced { kept: None, undo })
            }
            _ => Err(changed()),
        }
    }

    /// Brings back what was there before [`SourceTarget::replace`], best effort.
    pub(crate) fn restore(&self) {
        match &self.expected {
            Some(bytes) => {
                if let Ok(meta) = fs::metadata(&self.path) {
                    let _ = self.write(bytes, Options::like(&meta));
                }
            }
            None => drop(fs::remove_file(&self.path)),
        }
    }

    fn write(&self, bytes: &[u8], options: Options) -> Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        trusted::directory(directory).map_err(|e| e.about(directory, Kind::Policy))?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        // No profile source begins with a dot.
        let temporary = directory.join(format!(".{name}.{}", temporary::mark()));
        replace::replace(&self.path, &temporary, bytes, options.durable())
            .map_err(|e| Error::io("replace", &self.path, &e))
    }
}

/// The file of this profile in the first profile directory.
fn new_source(name: &ProfileName, settings: &Settings) -> Result<PathBuf> {
    let first = settings.profile_directories.first();
    let first = first.ok_or_else(|| {
        Error::new(Kind::Configuration, "profile_directories is empty")
            .with_remedy("name a directory for profiles in /etc/oci-apparmor/config.toml")
    })?;
    Ok(first.as_path().join(name.root().file_name()))
}

/// Keeps a copy of a file that is about to be replaced.
fn keep(path: &Path, bytes: &[u8], options: Options) -> Result<PathBuf> {
    own::directory(Path::new(KEPT), 0o755)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let now = humantime::format_rfc3339_seconds(SystemTime::now());
    let now = now.to_string().replace(':', "");
    let free = (0_u32..1000)
        .map(|number| match number {
            0 => Path::new(KEPT).join(format!("{name}.{now}")),
            _ => Path::new(KEPT).join(format!("{name}.{now}.{number}")),
        })
        .find(|path| path.symlink_metadata().is_err());
    let kept = free.ok_or_else(|| {
        Error::io(
            "keep a copy in",
            Path::new(KEPT),
            &io::Error::from(io::ErrorKind::AlreadyExists),
        )
    })?;
    let temporary = Path::new(KEPT).join(format!(".{name}.{}", temporary::mark()));
    replace::replace(&kept, &temporary, bytes, options.durable())
        .map_err(|e| Error::io("write", &kept, &e))?;
    Ok(kept)
}

/// A path as a word for a shell.
fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/_.-+:@".contains(&b);
    match text.bytes().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

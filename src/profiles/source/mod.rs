//! Where a profile comes from: a file of AppArmor's language that is named as the profile, or an
//! `AppArmorProfile` manifest in the first directory.

pub mod listing;
pub mod manifests;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::apparmor::name::ProfileName;
use crate::error::{Error, Kind, Result};
use crate::fs::fingerprint::Stamp;
use crate::fs::trusted::{self, Refusal};
use crate::profiles::source::listing::DISTRIBUTION;
use crate::profiles::source::manifests::{Entry, Manifests, is_manifest};
use crate::settings::Settings;

/// The largest source; the biggest that distributions ship are below 100 KiB.
const MAX: u64 = 4 << 20;

/// Where an administrator says that a file is not to be loaded, or only to complain; by the
/// base name of the file (apparmor_parser(8), and aa-disable(8), aa-complain(8)).
const DISABLE: &str = "/etc/apparmor.d/disable";
pub(crate) const FORCE_COMPLAIN: &str = "/etc/apparmor.d/force-complain";

/// The file that a profile is built from, and what this node says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Whether it is in the first directory, which is ours; the others' content is not.
    pub ours: bool,
    /// Whether this node has set it to complain.
    pub complain: bool,
    /// Why it is not to be loaded, where this node says so.
    pub disabled: Option<String>,
    /// The manifest that it is, if it is one.
    manifest: Option<Entry>,
}

impl Source {
    /// The source of a profile, if there is one. No text is read.
    ///
    /// # Errors
    /// Where manifests cannot be looked at.
    pub fn of(name: &ProfileName, settings: &Settings) -> Result<Option<Self>> {
        let name = name.root();
        let file = name.file_name();
        let mut text = settings
            .profile_directories
            .iter()
            .map(|directory| directory.as_path().join(&file))
            .enumerate()
            .filter(|(place, path)| path.is_file() && !(*place == 0 && is_manifest(path)))
            .map(|(place, path)| Self {
                ours: place == 0,
                complain: listed(FORCE_COMPLAIN, &file),
                disabled: listed(DISABLE, &file)
                    .then(|| format!("its file is listed in {DISABLE}")),
                path,
                manifest: None,
            });
        let first = text.next();
        let Some(directory) = settings.profile_directories.first() else {
            return Ok(first);
        };
        let Some(mut entry) = Manifests::of(directory.as_path())?.entry(&name) else {
            return Ok(first);
        };
        if let Some(text) = first.filter(|source| source.ours) {
            // Which of them is meant cannot be told.
            entry.text = Err(format!("{} defines it as well", text.path.display()));
        }
        let disabled = match (entry.disabled, listed(DISABLE, &file)) {
            (true, _) => Some(format!("{} has state: Disabled", entry.path.display())),
            (_, true) => Some(format!("{file} is listed in {DISABLE}")),
            _ => None,
        };
        Ok(Some(Self {
            path: entry.path.clone(),
            ours: true,
            complain: entry.complain || listed(FORCE_COMPLAIN, &file),
            disabled,
            manifest: Some(entry),
        }))
    }

    /// Whether it stands where the node keeps profiles for containers: in any profile directory
    /// but `/etc/apparmor.d` itself, which holds those of the host's programs.
    ///
    /// In a directory whose content is not ours, a name that starts with `/` is none: such a
    /// profile attaches to a program, and its file has the name of another one's
    /// (`usr.bin.x` is that of `/usr/bin/x`, too).
    #[must_use]
    pub fn is_for_containers(&self, name: &ProfileName) -> bool {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        (self.ours || !name.as_str().starts_with('/')) && !is_the_hosts(directory)
    }

    /// Whether this node lets a profile complain.
    #[must_use]
    pub fn complains(name: &ProfileName, settings: &Settings) -> bool {
        matches!(Self::of(name, settings), Ok(Some(source)) if source.complain)
    }

    /// Whether it is a manifest that is refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.manifest.as_ref().is_some_and(|m| m.text.is_err())
    }

    /// Its text, and the stamp of the file that it is in.
    ///
    /// # Errors
    /// [`Kind::Policy`] where it is not trusted, [`Kind::NotFound`] where it is gone,
    /// [`Kind::DoesNotCompile`] where a manifest is refused.
    pub(crate) fn read(&self) -> Result<(Vec<u8>, Stamp)> {
        if let Some(manifest) = &self.manifest {
            return match &manifest.text {
                Ok(text) => Ok((text.clone().into_bytes(), manifest.stamp.clone())),
                Err(why) => Err(Error::new(Kind::DoesNotCompile, why.clone())
                    .with_remedy(format!("try: oci-apparmor render {}", self.path.display()))),
            };
        }
        Self::read_file(&self.path)
    }

    /// The text of a file that may be a source.
    ///
    /// # Errors
    /// As for [`Source::read`].
    pub(crate) fn text(path: &Path) -> Result<Vec<u8>> {
        Ok(Self::read_file(path)?.0)
    }

    fn read_file(path: &Path) -> Result<(Vec<u8>, Stamp)> {
        match trusted::read_with(path, MAX) {
            Ok((text, meta)) => Ok((text, Stamp::of(&meta))),
            Err(refusal) => {
                let kind = match refusal {
                    Refusal::Missing => Kind::NotFound,
                    _ => Kind::Policy,
                };
                Err(refusal
                    .about(path, kind)
                    .with_remedy("profile sources must belong to root alone"))
            }
        }
    }

    /// Refuses one that is disabled.
    ///
    /// # Errors
    /// [`Kind::Policy`], with the place that says so.
    pub fn may_be_loaded(&self, name: &ProfileName) -> Result<()> {
        match &self.disabled {
            None => Ok(()),
            Some(why) => Err(Error::new(
                Kind::Policy,
                format!("the profile {name} is disabled on this node: {why}"),
            )
            .with_remedy("enable it there, or name another profile")),
        }
    }
}

/// Whether a directory is the host's, by whatever path or mount; if that cannot be told, it is.
fn is_the_hosts(directory: &Path) -> bool {
    let hosts = match fs::metadata(DISTRIBUTION) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return false,
        Err(_) => return true,
        Ok(hosts) => hosts,
    };
    fs::metadata(directory).map_or(true, |meta| {
        (meta.dev(), meta.ino()) == (hosts.dev(), hosts.ino())
    })
}

/// Whether this node has disabled the file of this path.
#[must_use]
pub fn disabled(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|file| listed(DISABLE, &file.to_string_lossy()))
}

/// Whether this node forces the profile of this file into complain mode.
#[must_use]
pub fn forced_to_complain(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|file| listed(FORCE_COMPLAIN, &file.to_string_lossy()))
}

fn listed(directory: &str, file: &str) -> bool {
    // The entry is usually a symbolic link; where it leads does not matter to the parser.
    Path::new(directory).join(file).symlink_metadata().is_ok()
}

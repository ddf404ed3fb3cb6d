//! Where the text of a profile is, by its file name.

use std::path::{Path, PathBuf};

use crate::apparmor::name::ProfileName;
use crate::error::{Error, Kind, Result};
use crate::profiles::stamp::Stamp;
use crate::settings::Settings;
use crate::trusted::{self, Refusal};

/// The largest source; the biggest that distributions ship are below 100 KiB.
const MAX: u64 = 4 << 20;

/// Where an administrator says that a file is not to be loaded, or only to complain; by the
/// base name of the file (apparmor_parser(8), and aa-disable(8), aa-complain(8)).
const DISABLE: &str = "/etc/apparmor.d/disable";
const FORCE_COMPLAIN: &str = "/etc/apparmor.d/force-complain";

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
}

impl Source {
    /// The source of a profile, if there is one. Nothing of it is read.
    #[must_use]
    pub fn of(name: &ProfileName, settings: &Settings) -> Option<Self> {
        let file = name.root().file_name();
        let found = settings
            .profile_directories
            .iter()
            .map(|directory| directory.as_path().join(&file))
            .enumerate()
            .find(|(_, path)| path.is_file());
        let (place, path) = found?;
        Some(Self {
            ours: place == 0,
            complain: listed(FORCE_COMPLAIN, &path),
            disabled: listed(DISABLE, &path).then(|| format!("its file is listed in {DISABLE}")),
            path,
        })
    }

    /// Whether this node lets a profile complain.
    #[must_use]
    pub fn complains(name: &ProfileName, settings: &Settings) -> bool {
        Self::of(name, settings).is_some_and(|source| source.complain)
    }

    /// Its text, and the stamp of the file that it is in.
    ///
    /// # Errors
    /// [`Kind::Policy`] where it is not trusted, [`Kind::NotFound`] where it is gone.
    pub(super) fn read(&self) -> Result<(Vec<u8>, Stamp)> {
        match trusted::read_with(&self.path, MAX) {
            Ok((text, meta)) => Ok((text, Stamp::of(&meta))),
            Err(refusal) => {
                let kind = match refusal {
                    Refusal::Missing => Kind::NotFound,
                    _ => Kind::Policy,
                };
                Err(refusal
                    .about(&self.path, kind)
                    .hint("profile sources must belong to root alone"))
            }
        }
    }

    /// Refuses one that is disabled.
    pub(super) fn may_be_loaded(&self, name: &ProfileName) -> Result<()> {
        match &self.disabled {
            None => Ok(()),
            Some(why) => Err(Error::new(
                Kind::Policy,
                format!("the profile {name} is disabled on this node: {why}"),
            )
            .hint("enable it there, or name another profile")),
        }
    }
}

fn listed(directory: &str, path: &Path) -> bool {
    // The entry is usually a symbolic link; where it leads does not matter to the parser.
    path.file_name()
        .is_some_and(|file| Path::new(directory).join(file).symlink_metadata().is_ok())
}

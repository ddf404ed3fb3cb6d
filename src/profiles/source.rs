//! Where the text of a profile is, by its file name.

use std::path::{Path, PathBuf};

use crate::apparmor::name::ProfileName;
use crate::error::{Error, Kind, Result};
use crate::settings::Settings;
use crate::trusted::{self, Refusal};

/// The largest source; the biggest that distributions ship are below 100 KiB.
const MAX: u64 = 4 << 20;

/// Where an administrator says that a file is not to be loaded, or only to complain; by the
/// base name of the file (apparmor_parser(8), and aa-disable(8), aa-complain(8)).
const DISABLE: &str = "/etc/apparmor.d/disable";
const FORCE_COMPLAIN: &str = "/etc/apparmor.d/force-complain";

/// The text of a profile, and what this node says about its file.
#[derive(Debug)]
pub(super) struct Source {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub text: Vec<u8>,
    /// Whether it is to be loaded in complain mode.
    pub complain: bool,
    /// Whether it is in the first directory, which is ours; the others' content is not.
    pub ours: bool,
}

/// The file that the profile can be built from, if there is one.
#[must_use]
pub fn find(name: &ProfileName, settings: &Settings) -> Option<PathBuf> {
    let file = name.root().file_name();
    settings
        .profile_directories
        .iter()
        .map(|directory| directory.as_path().join(&file))
        .find(|path| path.is_file())
}

/// Whether the node forces the profile of this file into complain mode.
#[must_use]
pub fn forced_to_complain(path: &Path) -> bool {
    listed(FORCE_COMPLAIN, path)
}

/// Reads the source of a profile.
///
/// # Errors
/// [`Kind::NotFound`] where there is none, [`Kind::Policy`] where it is not trusted or disabled.
pub(super) fn load(name: &ProfileName, settings: &Settings) -> Result<Source> {
    let path = find(name, settings)
        .ok_or_else(|| Error::new(Kind::NotFound, format!("the profile {name} has no source")))?;
    let text = trusted::read(&path, MAX).map_err(|refusal| {
        let kind = match refusal {
            Refusal::Missing => Kind::NotFound,
            _ => Kind::Policy,
        };
        refusal
            .about(&path, kind)
            .hint("profile sources must belong to root alone")
    })?;
    if listed(DISABLE, &path) {
        return Err(Error::new(
            Kind::Policy,
            format!("the profile {name} is disabled on this node: its file is listed in {DISABLE}"),
        )
        .hint("remove it from there, or name another profile"));
    }
    let ours = settings
        .profile_directories
        .first()
        .is_some_and(|first| path.parent() == Some(first.as_path()));
    Ok(Source {
        complain: forced_to_complain(&path),
        path,
        text,
        ours,
    })
}

fn listed(directory: &str, path: &Path) -> bool {
    // The entry is usually a symbolic link; where it leads does not matter to the parser.
    path.file_name()
        .is_some_and(|file| Path::new(directory).join(file).symlink_metadata().is_ok())
}

//! The link in `force-complain/` that keeps a profile in complain mode on this node.
//! aa-complain(8) and the parser use the same directory.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::fs::trusted;
use crate::profiles::source::FORCE_COMPLAIN;

/// What was done with a link in `force-complain/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkChange {
    /// Nothing: it was there, or missing, already.
    Unchanged,
    /// It was created.
    Created(PathBuf),
    /// It was removed; the second path is its target.
    Removed(PathBuf, PathBuf),
}

/// Creates the link, unless it, or a file of its name, exists.
pub(super) fn create(link: &Path, source: &Path) -> Result<LinkChange> {
    let directory = Path::new(FORCE_COMPLAIN);
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .map_err(|e| failed("create the link", link, &e))?;
    trusted::directory(directory).map_err(|e| {
        e.about(directory, Kind::Policy).or_remedy(format!(
            "run: chown root: {FORCE_COMPLAIN} && chmod go-w {FORCE_COMPLAIN}"
        ))
    })?;
    match symlink(source, link) {
        Ok(()) => Ok(LinkChange::Created(link.to_owned())),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(LinkChange::Unchanged),
        Err(e) => Err(failed("create the link", link, &e)),
    }
}

/// Removes the link, if it exists. A file is left alone: it may be a copy of the profile.
pub(super) fn remove(link: &Path) -> Result<LinkChange> {
    let failed = |e: &io::Error| failed("remove the link", link, e);
    match fs::read_link(link) {
        Ok(target) => {
            fs::remove_file(link).map_err(|e| failed(&e))?;
            Ok(LinkChange::Removed(link.to_owned(), target))
        }
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(LinkChange::Unchanged)
        }
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => {
            let path = link.display();
            let why = format!(
                "{path} is not a symbolic link and was not removed; while it exists, the profile \
                 is in complain mode"
            );
            Err(Error::new(Kind::Policy, why).with_remedy(format!("run: rm {path}")))
        }
        Err(e) => Err(failed(&e)),
    }
}

/// Restores the link, best effort.
pub(super) fn undo(change: &LinkChange) {
    let _ = match change {
        LinkChange::Unchanged => Ok(()),
        LinkChange::Created(link) => fs::remove_file(link),
        LinkChange::Removed(link, target) => symlink(target, link),
    };
}

fn failed(verb: &str, link: &Path, e: &io::Error) -> Error {
    Error::io(verb, link, e).with_remedy(format!(
        "the link stores the mode of the profile; make {FORCE_COMPLAIN} writable"
    ))
}

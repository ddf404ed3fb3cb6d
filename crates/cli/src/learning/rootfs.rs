//! The root file system of a container: where the paths of its configuration lead to.
//!
//! The kernel names a file without links, so rules need the paths behind them: in many images
//! `/bin` is a link to `usr/bin`, and `/var/run` one to `/run`.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// The directory that is the root of a container.
#[derive(Debug)]
pub(super) struct RootDirectory {
    directory: File,
    path: PathBuf,
}

impl RootDirectory {
    /// Opens it; `None` if it is not there, as for a container that does not run.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let directory = File::open(path).ok()?;
        let path = path_of(directory.as_raw_fd())?;
        // The root of the node is no container's.
        (directory.metadata().ok()?.is_dir() && path != Path::new("/"))
            .then_some(Self { directory, path })
    }

    /// The path without links, and whether it is a directory; `None` if it does not exist.
    ///
    /// Links are followed as in the container, so they do not lead out of it.
    pub(super) fn resolve(&self, path: &str) -> Option<(String, bool)> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let found: OwnedFd = openat2(&self.directory, path, how).ok()?;
        let real = path_of(found.as_raw_fd())?;
        let inside = real.strip_prefix(&self.path).ok()?.to_str()?;
        let is_directory = File::from(found).metadata().ok()?.is_dir();
        Some((format!("/{inside}"), is_directory))
    }

    /// The path of something that may not exist yet: its existing part is without links.
    pub(super) fn resolve_part(&self, path: &str) -> String {
        let path = path.trim_end_matches('/');
        for (at, _) in path.rmatch_indices('/') {
            let (above, rest) = path.split_at(at);
            if let Some((real, _)) = self.resolve(if above.is_empty() { "/" } else { above }) {
                return format!("{}{rest}", real.trim_end_matches('/'));
            }
        }
        path.to_owned()
    }
}

/// The path of an open file.
fn path_of(descriptor: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()
}

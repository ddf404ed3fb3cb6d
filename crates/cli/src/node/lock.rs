//! One installer at a time on a node.

use std::fs::File;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::engine::root::NodeRoot;
use oci_apparmor::error::{Error, Kind, Result};

/// The directory that is locked: it is there on every node, so nothing is written for the lock.
const DIRECTORY: &str = "/etc";

/// The lock of a node (flock(2)): it ends with this value, or with this process.
#[derive(Debug)]
pub(super) struct NodeLock {
    _directory: Flock<File>,
}

impl NodeLock {
    /// Takes it.
    ///
    /// # Errors
    /// [`Kind::Policy`] if another process has it.
    pub(super) fn take(root: &NodeRoot) -> Result<Self> {
        let directory = root.directory_at(Path::new(DIRECTORY))?;
        let file = File::open(&directory).map_err(|e| Error::io("open", &directory, &e))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { _directory: lock }),
            Err((_, Errno::EWOULDBLOCK)) => Err(Error::new(
                Kind::Policy,
                "another process installs on this node or uninstalls",
            )
            .with_remedy("wait until it has ended, and run the command again")),
            Err((_, e)) => Err(Error::io("lock", &directory, &e.into())),
        }
    }
}

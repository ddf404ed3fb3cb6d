//! Locks on profiles, so that no profile is removed while a container starts under it, and so
//! that many simultaneous starts load a missing profile only once.
//!
//! Each profile has two locks. Unloading holds the first one exclusively; a start holds it shared
//! until the container's record exists. Loading also holds the second one exclusively.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use oci_apparmor_entry::interrupt;

use crate::apparmor::name::ProfileName;
use crate::error::{Error, Result};
use crate::fs::{digest, own, run};

/// How long one `oci-apparmor sync` waits for another.
const SYNC_LIMIT: Duration = Duration::from_secs(600);

/// How long a process waits that writes what a cluster is told about this node.
const NODE_STATUS_LIMIT: Duration = Duration::from_secs(20);

/// A lock that is held. It is released when this value is dropped, when the process ends, and
/// when the process executes another program.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the open file holds the lock")] File);

/// A non-blocking flock(2).
type TryLock = fn(&File) -> std::result::Result<(), TryLockError>;

/// A lock file.
#[derive(Debug)]
pub(crate) struct LockFile {
    path: PathBuf,
    /// When waiting for it ends.
    deadline: Option<Instant>,
}

impl LockFile {
    /// The first lock of a profile, which is also that of its children. Waiting ends after
    /// `limit`, so that one process that hangs does not block the node.
    pub(crate) fn of(name: &ProfileName, limit: Duration) -> Result<Self> {
        Self::named(&digest::short(name.root().as_str()), limit)
    }

    /// The second lock of the same profile.
    pub(crate) fn for_loading(&self, limit: Duration) -> Self {
        let mut path = self.path.clone().into_os_string();
        path.push("-load");
        Self {
            path: path.into(),
            deadline: Instant::now().checked_add(limit),
        }
    }

    /// The lock file with this name.
    pub(crate) fn named(name: &str, limit: Duration) -> Result<Self> {
        Ok(Self {
            path: run::directory("locks")?.join(name),
            deadline: Instant::now().checked_add(limit),
        })
    }

    /// Locks it shared; waits while another process holds it exclusively.
    pub(crate) fn shared(&self) -> Result<Lock> {
        self.wait(File::try_lock_shared, File::lock_shared)
    }

    /// Locks it exclusively; waits while another process holds it.
    pub(crate) fn exclusive(&self) -> Result<Lock> {
        self.wait(File::try_lock, File::lock)
    }

    /// Locks it exclusively, or returns `None` if another process holds it.
    pub(crate) fn try_exclusive(&self) -> Result<Option<Lock>> {
        let file = self.open()?;
        Ok(match self.attempt(&file, File::try_lock)? {
            true => self.held(file)?,
            false => None,
        })
    }

    fn wait(&self, try_lock: TryLock, lock: fn(&File) -> io::Result<()>) -> Result<Lock> {
        loop {
            let file = self.open()?;
            if !self.attempt(&file, try_lock)? {
                self.block(&file, lock)?;
            }
            if let Some(lock) = self.held(file)? {
                return Ok(lock);
            }
        }
    }

    fn attempt(&self, file: &File, try_lock: TryLock) -> Result<bool> {
        match try_lock(file) {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(e)) => Err(self.failed(&e)),
        }
    }

    /// Waits for the lock in flock(2). Polling would take processor time from the one compiler
    /// that hundreds of processes may be waiting for.
    fn block(&self, file: &File, lock: fn(&File) -> io::Result<()>) -> Result<()> {
        let left = || {
            self.deadline.map_or(Duration::ZERO, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            })
        };
        let wait = || loop {
            match lock(file) {
                // Another signal.
                Err(e) if e.kind() == io::ErrorKind::Interrupted && !left().is_zero() => {}
                ended => return ended,
            }
        };
        // flock(2) has no time limit.
        let ended = interrupt::after(left(), wait).and_then(|ended| ended);
        ended.map_err(|e| match e.kind() {
            io::ErrorKind::Interrupted => self
                .failed(&io::Error::other("another process holds the lock"))
                .with_remedy(format!("run: fuser -v {}", self.path.display())),
            _ => self.failed(&e),
        })
    }

    fn open(&self) -> Result<File> {
        let opened = match (self.open_existing(), self.path.parent()) {
            // The directory usually exists.
            (Err(e), Some(directory)) if e.kind() == io::ErrorKind::NotFound => {
                own::directory(directory, 0o700)?;
                self.open_existing()
            }
            (opened, _) => opened,
        };
        opened.map_err(|e| self.failed(&e))
    }

    /// Opens it, and creates it in a directory that exists.
    fn open_existing(&self) -> io::Result<File> {
        let mut options = File::options();
        options
            .read(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW);
        let opened = options
            .clone()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.path);
        match opened {
            // An existing file can be locked without write access, and `exec` writes nothing else.
            Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => options.open(&self.path),
            opened => opened,
        }
    }

    /// The lock on `file`. `None` if `gc` has removed the file: a lock on a removed file excludes
    /// no other process.
    fn held(&self, file: File) -> Result<Option<Lock>> {
        let meta = file.metadata().map_err(|e| self.failed(&e))?;
        Ok((meta.nlink() > 0).then_some(Lock(file)))
    }

    fn failed(&self, e: &io::Error) -> Error {
        Error::io("lock", &self.path, e)
    }
}

/// The lock of `oci-apparmor sync`; waits while another process holds it.
///
/// # Errors
/// If another process holds it for too long, or if it cannot be locked.
pub fn of_sync() -> Result<Lock> {
    LockFile::named("sync", SYNC_LIMIT)?.exclusive()
}

/// The lock of what a cluster is told about this node; waits while another process holds it.
///
/// # Errors
/// If another process holds it for too long, or if it cannot be locked.
pub fn of_node_status() -> Result<Lock> {
    LockFile::named("node-status", NODE_STATUS_LIMIT)?.exclusive()
}

/// Removes the lock files that no process holds. Returns how many.
///
/// # Errors
/// If they cannot be listed or locked.
pub(crate) fn gc() -> Result<u64> {
    let directory = run::path()?.join("locks");
    let mut count: u64 = 0;
    for path in run::list(&directory)? {
        let file = LockFile {
            path,
            deadline: None,
        };
        // It is removed under the lock: a process that has opened it then sees that it is gone.
        let held = file.try_exclusive()?;
        if held.is_some() && fs::remove_file(&file.path).is_ok() {
            count = count.saturating_add(1);
        }
    }
    Ok(count)
}

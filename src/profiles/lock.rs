//! Who may work on a profile. Whoever builds or removes it holds its lock alone; whoever relies on
//! it holds it together with others, until the container's record speaks for it.

use std::fs::{File, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::apparmor::name::ProfileName;
use crate::error::{Error, Result};
use crate::profiles::digest;
use crate::{rundir, trusted};

/// A hold on a profile; it ends with this value, with the process, or when that becomes another
/// program. A dead holder blocks nobody.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "it is held, not used")] File);

/// A profile's lock, not yet held.
#[derive(Debug)]
pub(super) struct Locks {
    path: PathBuf,
    deadline: Option<Instant>,
}

impl Locks {
    /// The lock of a profile and its children. All waiting together ends after `limit`: one
    /// that hangs must not hang the node.
    pub(super) fn of(name: &ProfileName, limit: Duration) -> Result<Self> {
        Self::named(&digest(name.root().as_str()), limit)
    }

    /// The lock of this name.
    pub(super) fn named(name: &str, limit: Duration) -> Result<Self> {
        let directory = rundir::path()?.join("locks");
        trusted::own_directory(&directory, 0o700)?;
        Ok(Self {
            path: directory.join(name),
            deadline: Instant::now().checked_add(limit),
        })
    }

    /// The lock together with others; waits for whoever has it alone.
    pub(super) fn shared(&self) -> Result<Lock> {
        self.wait(File::try_lock_shared)
    }

    /// The lock alone; waits for everybody.
    pub(super) fn alone(&self) -> Result<Lock> {
        self.wait(File::try_lock)
    }

    /// The lock alone, if nobody has it now.
    pub(super) fn alone_at_once(&self) -> Result<Option<Lock>> {
        self.attempt(File::try_lock)
    }

    fn wait(&self, how: fn(&File) -> std::result::Result<(), TryLockError>) -> Result<Lock> {
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(lock) = self.attempt(how)? {
                return Ok(lock);
            }
            self.pause(&mut pause)?;
        }
    }

    /// Waits a little, a little longer each time.
    ///
    /// # Errors
    /// Where that took too long altogether.
    pub(super) fn pause(&self, pause: &mut Duration) -> Result<()> {
        if self
            .deadline
            .is_none_or(|deadline| Instant::now() > deadline)
        {
            let busy = std::io::Error::other("another process keeps working on it");
            return Err(Error::io("lock", &self.path, &busy)
                .hint(format!("find it: fuser {}", self.path.display())));
        }
        std::thread::sleep(*pause);
        *pause = pause.saturating_mul(2).min(Duration::from_millis(20));
        Ok(())
    }

    fn attempt(
        &self,
        how: fn(&File) -> std::result::Result<(), TryLockError>,
    ) -> Result<Option<Lock>> {
        let failed = |e: &std::io::Error| Error::io("lock", &self.path, e);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.path)
            .map_err(|e| failed(&e))?;
        match how(&file) {
            // gc removes files that nobody holds; a lock on a removed one excludes nobody.
            Ok(()) if file.metadata().map_err(|e| failed(&e))?.nlink() == 0 => Ok(None),
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(failed(&e)),
        }
    }
}

/// Removes the files of locks that nobody holds; whoever comes next makes a new one. Returns how
/// many.
///
/// # Errors
/// Where they cannot be listed.
pub(super) fn tidy() -> Result<u64> {
    let directory = rundir::path()?.join("locks");
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(Error::io("list", &directory, &e)),
    };
    let mut count: u64 = 0;
    for entry in entries.flatten() {
        let locks = Locks {
            path: entry.path(),
            deadline: None,
        };
        // It is removed while it is held, so that whoever opened it before sees that it is gone.
        let held = locks.alone_at_once()?;
        if held.is_some() && std::fs::remove_file(&locks.path).is_ok() {
            count = count.saturating_add(1);
        }
    }
    Ok(count)
}

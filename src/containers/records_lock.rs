//! The lock of the directory of records, which also covers the stored pods (flock(2)).

use std::fs::{File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::fs::{own, run};

/// How often a writer tries to get the lock, every 10 ms, while `gc` has it.
const WRITER_ATTEMPTS: u32 = 200;

/// How often a call tries that only wants to remove an empty directory.
const TIDY_ATTEMPTS: u32 = 20;

/// The name of the directory of records.
const NAME: &str = "containers";

/// The directory of records.
pub(super) fn directory() -> Result<PathBuf> {
    Ok(run::path()?.join(NAME))
}

/// Locks together with other writers. `None` if the lock is not to be had in 2 s.
pub(super) fn shared() -> Result<Option<File>> {
    locked(File::try_lock_shared, WRITER_ATTEMPTS)
}

/// Locks alone. `None` if the lock is not to be had in 0.2 s.
pub(super) fn try_exclusive() -> Result<Option<File>> {
    locked(File::try_lock, TIDY_ATTEMPTS)
}

fn locked(
    lock: fn(&File) -> std::result::Result<(), TryLockError>,
    attempts: u32,
) -> Result<Option<File>> {
    let path = run::directory(NAME)?;
    let opened = match File::open(&path) {
        // It usually exists.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            own::directory(&path, 0o700)?;
            File::open(&path)
        }
        opened => opened,
    };
    let directory = opened.map_err(|e| Error::io("open", &path, &e))?;
    for _ in 0..attempts {
        match lock(&directory) {
            Ok(()) => return Ok(Some(directory)),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            // The file system has no locks.
            Err(TryLockError::Error(_)) => break,
        }
    }
    Ok(None)
}

/// Does `work` while no record is written. It must be short: containers that are created meanwhile
/// wait.
///
/// # Errors
/// If the directory cannot be locked. If it does not exist, nothing is done.
pub(super) fn exclusive(work: impl FnOnce()) -> Result<()> {
    let path = directory()?;
    let directory = match File::open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(|e| Error::io("open", &path, &e))?,
    };
    directory.lock().map_err(|e| Error::io("lock", &path, &e))?;
    work();
    Ok(())
}

//! One worker for each profile.

use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::apparmor::name::ProfileName;
use crate::error::{Error, Result};
use crate::{rundir, trusted};

/// Waits for whoever works on the same profile; a dead holder's lock is free at once, and one
/// that hangs (each has the time of two runs of the compiler) does not hang the node.
pub(super) fn lock(name: &ProfileName, limit: Duration) -> Result<File> {
    let directory = rundir::path()?.join("locks");
    trusted::own_directory(&directory, 0o700)?;
    let path = directory.join(digest(name.root().as_str()));
    let failed = |e: &std::io::Error| Error::io("lock", &path, e);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .map_err(|e| failed(&e))?;
    let deadline = Instant::now().checked_add(limit.saturating_mul(2));
    let mut pause = Duration::from_millis(1);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(e)) => return Err(failed(&e)),
            Err(TryLockError::WouldBlock) if deadline.is_none_or(|d| Instant::now() > d) => {
                return Err(
                    failed(&std::io::Error::other("another process keeps loading it"))
                        .hint(format!("find it: fuser {}", path.display())),
                );
            }
            Err(TryLockError::WouldBlock) => {
                std::thread::sleep(pause);
                pause = pause.saturating_mul(2).min(Duration::from_millis(20));
            }
        }
    }
}

/// The first half of a SHA-256, in hexadecimal: a file name for any text.
#[must_use]
pub(crate) fn digest(text: impl AsRef<[u8]>) -> String {
    let hash = Sha256::digest(text.as_ref());
    hash.iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

//! AppArmor's parameter `audit`, set to `noquiet` for some time.
//!
//! Several commands may need that at once: the first one records the earlier value in `/run`, and the
//! last one puts it back. A lock on the file (flock(2)) tells whether others need it.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use oci_apparmor::apparmor::kernel::{AuditMode, Kernel};
use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::fs::{own, run};

/// The parameter is `noquiet` as long as this is held.
#[derive(Debug)]
pub(super) struct NoQuiet {
    kernel: Kernel,
    record: RecordFile,
}

impl NoQuiet {
    /// Records the value of the parameter, and sets it to `noquiet`. `all` stays: it reports the same
    /// and more.
    pub(super) fn set(kernel: Kernel) -> Result<Self> {
        let mut record = RecordFile::open()?;
        // Between the locks, another process may put back the value and empty the file.
        for _ in 0..100 {
            if record.try_exclusive()? {
                let now = kernel.audit_mode()?;
                // A value that is recorded although no process holds the lock was left by one that was
                // killed together with its guard.
                let recorded = record.read()?.filter(|_| now == AuditMode::NoQuiet);
                record.write(recorded.unwrap_or(now))?;
            }
            record.shared()?;
            if record.read()?.is_some() {
                if kernel.audit_mode()? != AuditMode::All {
                    kernel.set_audit_mode(AuditMode::NoQuiet)?;
                }
                return Ok(Self { kernel, record });
            }
        }
        Err(Error::new(
            Kind::Internal,
            format!("another process keeps changing {}", record.path.display()),
        )
        .with_remedy("try again"))
    }

    /// Puts back the recorded value, unless another command still needs `noquiet`, or the value was
    /// changed meanwhile.
    pub(super) fn put_back(mut self) -> Result<()> {
        // The kernel gives up the shared lock before it tries for the exclusive one, so that the last
        // of several gets it. `check` holds it for a moment.
        let mut tries = 0..5;
        while !self.record.try_exclusive()? {
            if tries.next().is_none() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        if let Some(mode) = self.record.read()?
            && self.kernel.audit_mode()? == AuditMode::NoQuiet
        {
            self.kernel.set_audit_mode(mode)?;
        }
        self.record.clear()
    }
}

/// The value that a killed command did not put back, if there is one.
pub(crate) fn left_behind(kernel: &Kernel) -> Option<AuditMode> {
    if kernel.audit_mode().ok()? != AuditMode::NoQuiet {
        return None;
    }
    let mut record = RecordFile {
        file: File::open(RecordFile::path().ok()?).ok()?,
        path: PathBuf::new(),
    };
    // A command that is at work holds the lock.
    let is_free = record.try_exclusive().ok()?;
    let recorded = record.read().ok()?;
    recorded.filter(|mode| is_free && *mode != AuditMode::NoQuiet)
}

/// `/run/oci-apparmor/audit-parameter`.
#[derive(Debug)]
struct RecordFile {
    file: File,
    path: PathBuf,
}

impl RecordFile {
    fn path() -> Result<PathBuf> {
        Ok(run::path()?.join("audit-parameter"))
    }

    fn open() -> Result<Self> {
        own::directory(&run::path()?, 0o700)?;
        let path = Self::path()?;
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|e| Error::io("open", &path, &e))?;
        Ok(Self { file, path })
    }

    fn failed(&self, verb: &str, e: &io::Error) -> Error {
        Error::io(verb, &self.path, e)
    }

    fn try_exclusive(&self) -> Result<bool> {
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(e)) => Err(self.failed("lock", &e)),
        }
    }

    fn shared(&self) -> Result<()> {
        let locked = self.file.lock_shared();
        locked.map_err(|e| self.failed("lock", &e))
    }

    fn read(&mut self) -> Result<Option<AuditMode>> {
        let mut text = String::new();
        let read = self.file.seek(SeekFrom::Start(0));
        read.and_then(|_| (&self.file).take(64).read_to_string(&mut text))
            .map_err(|e| self.failed("read", &e))?;
        Ok(AuditMode::named(text.trim_end()))
    }

    fn clear(&mut self) -> Result<()> {
        let done = self.file.set_len(0);
        done.map_err(|e| self.failed("write", &e))
    }

    fn write(&mut self, mode: AuditMode) -> Result<()> {
        self.clear()?;
        let written = self.file.seek(SeekFrom::Start(0));
        written
            .and_then(|_| self.file.write_all(mode.as_str().as_bytes()))
            .map_err(|e| self.failed("write", &e))
    }
}

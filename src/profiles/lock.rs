//! Who may work on a profile. Whoever removes it holds its lock alone; whoever relies on it holds
//! it together with others, until the container's record speaks for it. Whoever loads it relies
//! on it too, and holds a second lock alone, so that the others wait and find it done.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::apparmor::name::ProfileName;
use crate::error::{Error, Result};
use crate::fs::{run, trusted};
use crate::profiles::digest;

/// A hold on a profile; it ends with this value, with the process, or when that becomes another
/// program. A dead holder blocks nobody.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "it is held, not used")] File);

/// One of flock(2)'s operations, tried once.
type AtOnce = fn(&File) -> std::result::Result<(), TryLockError>;

/// A lock, not yet held.
#[derive(Debug)]
pub(crate) struct Locks {
    path: PathBuf,
    deadline: Option<Instant>,
}

impl Locks {
    /// The lock of those who rely on a profile or one of its children, against who removes it.
    /// All waiting together ends after `limit`: one that hangs must not hang the node.
    pub(crate) fn of(name: &ProfileName, limit: Duration) -> Result<Self> {
        Self::named(&digest(name.root().as_str()), limit)
    }

    /// The lock of who loads the profile, against others who would do the same.
    pub(crate) fn loading(&self, limit: Duration) -> Self {
        let mut path = self.path.clone().into_os_string();
        path.push("-load");
        Self {
            path: path.into(),
            deadline: Instant::now().checked_add(limit),
        }
    }

    /// The lock of this name.
    pub(crate) fn named(name: &str, limit: Duration) -> Result<Self> {
        let directory = run::path()?.join("locks");
        trusted::own_directory(&directory, 0o700)?;
        Ok(Self {
            path: directory.join(name),
            deadline: Instant::now().checked_add(limit),
        })
    }

    /// The lock together with others; waits for whoever has it alone.
    pub(crate) fn shared(&self) -> Result<Lock> {
        self.wait(File::try_lock_shared, File::lock_shared)
    }

    /// The lock alone; waits for everybody.
    pub(crate) fn alone(&self) -> Result<Lock> {
        self.wait(File::try_lock, File::lock)
    }

    /// The lock alone, if nobody has it now.
    pub(crate) fn alone_at_once(&self) -> Result<Option<Lock>> {
        let file = self.open()?;
        Ok(match self.attempt(&file, File::try_lock)? {
            true => self.held(file)?,
            false => None,
        })
    }

    fn wait(&self, at_once: AtOnce, how: fn(&File) -> io::Result<()>) -> Result<Lock> {
        loop {
            let mut file = self.open()?;
            if !self.attempt(&file, at_once)? {
                file = self.queue(file, how)?;
            }
            if let Some(lock) = self.held(file)? {
                return Ok(lock);
            }
        }
    }

    fn attempt(&self, file: &File, at_once: AtOnce) -> Result<bool> {
        match at_once(file) {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(e)) => Err(self.failed(&e)),
        }
    }

    /// Waits in the kernel. To look again and again instead would take the processor away from
    /// the one compiler that hundreds may be waiting for.
    fn queue(&self, file: File, how: fn(&File) -> io::Result<()>) -> Result<File> {
        let (sender, receiver) = mpsc::channel();
        let lock = move || loop {
            match how(&file) {
                Ok(()) => return Ok(file),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        };
        // flock(2) has no time limit, so it gets a thread, which may be left behind in it.
        thread::Builder::new()
            .spawn(move || drop(sender.send(lock())))
            .map_err(|e| self.failed(&e))?;
        let left = self.deadline.map_or(Duration::ZERO, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        match receiver.recv_timeout(left) {
            Ok(locked) => locked.map_err(|e| self.failed(&e)),
            Err(_) => {
                let busy = io::Error::other("another process keeps working on it");
                Err(self
                    .failed(&busy)
                    .with_remedy(format!("find it: fuser {}", self.path.display())))
            }
        }
    }

    fn open(&self) -> Result<File> {
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
            // What was there before can be held all the same, and `exec` writes nothing else.
            Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => options.open(&self.path),
            opened => opened,
        }
        .map_err(|e| self.failed(&e))
    }

    /// The lock, of which `file` is held; unless gc has removed it meanwhile: a lock on a removed
    /// file excludes nobody.
    fn held(&self, file: File) -> Result<Option<Lock>> {
        let meta = file.metadata().map_err(|e| self.failed(&e))?;
        Ok((meta.nlink() > 0).then_some(Lock(file)))
    }

    fn failed(&self, e: &io::Error) -> Error {
        Error::io("lock", &self.path, e)
    }
}

/// Removes the files of locks that nobody holds; whoever comes next makes a new one. Returns how
/// many.
///
/// # Errors
/// Where they cannot be listed.
pub(crate) fn tidy() -> Result<u64> {
    let directory = run::path()?.join("locks");
    let mut count: u64 = 0;
    for path in run::list(&directory)? {
        let locks = Locks {
            path,
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

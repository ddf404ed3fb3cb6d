//! Whether a file is still what it was, by stat(2) alone.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// How much older than its reading a file must be for its stamp to prove anything. A file that is
/// written twice within one tick of its file system's clock has one ctime; ticks are 10 ms on
/// Linux's own file systems, and up to 2 s elsewhere.
const TICK: Duration = Duration::from_secs(2);

/// Device, inode, size, mtime and ctime; the times as seconds and nanoseconds. `None`: absent.
///
/// ctime is what makes it reliable: any write, rename or change of owner moves it, and no program
/// can set it back, as `touch`, `cp -p`, `rsync -t` and `tar` set back an mtime. It holds within
/// one boot: device numbers change, and images of a node may be built with fixed times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp(Option<[i64; 7]>);

impl Stamp {
    /// What is not there.
    pub(crate) const ABSENT: Self = Self(None);

    /// The stamp of what was opened.
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self(Some([
            meta.dev().cast_signed(),
            meta.ino().cast_signed(),
            meta.size().cast_signed(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
        ]))
    }

    /// The stamp of whatever `path` leads to.
    ///
    /// # Errors
    /// Where that cannot be told.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(meta) => Ok(Self::of(&meta)),
            Err(e) if e.raw_os_error() == Some(libc::ENOTDIR) => Ok(Self::ABSENT),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::ABSENT),
            Err(e) => Err(e),
        }
    }

    /// Whether whatever changes after `read` will have another stamp.
    pub(crate) fn is_settled(&self, read: SystemTime) -> bool {
        let Some([.., seconds, nanoseconds]) = self.0 else {
            return true;
        };
        let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u32::try_from(nanoseconds))
        else {
            return false;
        };
        UNIX_EPOCH
            .checked_add(Duration::new(seconds, nanoseconds))
            .and_then(|ctime| ctime.checked_add(TICK))
            .is_some_and(|settled| settled < read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn every_way_to_change_a_file_changes_its_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let old = UNIX_EPOCH + Duration::from_secs(1);
        let write = |text: &str| {
            fs::write(&path, text).unwrap();
            // As cp -p and rsync -t do.
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(old)
                .unwrap();
            // The clock of a file system ticks every 1 to 10 ms.
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(Stamp::at(&path).unwrap(), Stamp::ABSENT);
        assert_eq!(Stamp::at(&path.join("below")).unwrap(), Stamp::ABSENT);
        write("one");
        let one = Stamp::at(&path).unwrap();
        assert_eq!(Stamp::at(&path).unwrap(), one);
        assert_eq!(Stamp::at(&path.join("below")).unwrap(), Stamp::ABSENT);
        write("two");
        let two = Stamp::at(&path).unwrap();
        assert_ne!(two, one);
        let other = dir.path().join("g");
        fs::copy(&path, &other).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(Stamp::at(&path).unwrap(), two);
    }

    #[test]
    fn a_file_that_was_just_written_is_not_settled() {
        let dir = tempfile::tempdir().unwrap();
        let stamp = Stamp::at(dir.path()).unwrap();
        let now = SystemTime::now();
        assert!(!stamp.is_settled(now));
        assert!(stamp.is_settled(now + Duration::from_secs(3)));
        assert!(!stamp.is_settled(UNIX_EPOCH), "its time lies in the future");
        assert!(Stamp::ABSENT.is_settled(now));
    }
}

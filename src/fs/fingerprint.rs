//! Whether a file has changed, by stat(2) alone.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, fstatat};
use serde::{Deserialize, Serialize};

/// How long a file must have been unchanged before it is read for its fingerprint to be reliable.
/// Two writes within one tick of the file system's clock give the same ctime; a tick is 10 ms on
/// Linux's own file systems, and up to 2 s elsewhere.
const TICK: Duration = Duration::from_secs(2);

/// Device, inode, size, mtime and ctime of a file; the times as seconds and nanoseconds. `None`
/// stands for a file that does not exist.
///
/// ctime makes it reliable: every write, rename or change of owner sets it, and no program can set
/// it back, as `touch`, `cp -p`, `rsync -t` and `tar` do with mtime. It is valid within one boot:
/// device numbers change, and images of a node may be built with fixed times.
///
/// It is written as hexadecimal numbers with dots between them. A start of a container reads dozens, and
/// that takes a quarter of the time that JSON numbers would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "FingerprintText<'_>")]
pub(crate) struct Fingerprint(Option<[i64; 7]>);

/// A written fingerprint, borrowed from the document.
#[derive(Deserialize)]
struct FingerprintText<'a>(&'a str);

/// How a file that does not exist is written.
const ABSENT: &str = "absent";

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        match fingerprint.0 {
            None => ABSENT.to_owned(),
            Some(numbers) => numbers.map(|number| format!("{number:x}")).join("."),
        }
    }
}

impl TryFrom<FingerprintText<'_>> for Fingerprint {
    type Error = &'static str;

    fn try_from(FingerprintText(text): FingerprintText<'_>) -> Result<Self, Self::Error> {
        if text == ABSENT {
            return Ok(Self::ABSENT);
        }
        let mut numbers = [0_i64; 7];
        let mut places = numbers.iter_mut();
        let mut number = places.next();
        for byte in text.bytes() {
            let digit = match byte {
                b'0'..=b'9' => byte & 0xf,
                b'a'..=b'f' => (byte & 0xf).wrapping_add(9),
                b'.' => {
                    number = places.next();
                    continue;
                }
                _ => return Err("it is no fingerprint"),
            };
            match &mut number {
                Some(number) => **number = **number << 4 | i64::from(digit),
                None => return Err("it is no fingerprint"),
            }
        }
        match (number, places.next()) {
            (Some(_), None) => Ok(Self(Some(numbers))),
            _ => Err("it is no fingerprint"),
        }
    }
}

impl Fingerprint {
    /// The fingerprint of a file that does not exist.
    pub(crate) const ABSENT: Self = Self(None);

    /// The fingerprint of a file that was opened.
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

    /// The same from fstatat(2), which costs less than the statx(2) of the standard library.
    fn of_stat(found: &FileStat) -> Self {
        Self(Some([
            found.st_dev.cast_signed(),
            found.st_ino.cast_signed(),
            found.st_size,
            found.st_mtime,
            found.st_mtime_nsec,
            found.st_ctime,
            found.st_ctime_nsec,
        ]))
    }

    /// The fingerprint of the file at `path`; symbolic links are followed.
    ///
    /// # Errors
    /// Those of stat(2), except that the file does not exist.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(meta) => Ok(Self::of(&meta)),
            Err(e) if e.raw_os_error() == Some(libc::ENOTDIR) => Ok(Self::ABSENT),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::ABSENT),
            Err(e) => Err(e),
        }
    }

    /// The fingerprint of the regular file at `path`; `None` if there is none.
    ///
    /// # Errors
    /// Those of stat(2), except that no such file can exist.
    pub(crate) fn of_file(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(meta) => Ok(meta.is_file().then(|| Self::of(&meta))),
            Err(e) => match e.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG) => Ok(None),
                _ => Err(e),
            },
        }
    }

    /// Whether it is one of this file, changed since or not.
    pub(crate) fn is_of(&self, meta: &Metadata) -> bool {
        let file = [meta.dev().cast_signed(), meta.ino().cast_signed()];
        self.0.is_some_and(|known| known.starts_with(&file))
    }

    /// Whether every change after `read`, the time at which the file was read, changes the
    /// fingerprint.
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

/// Whether all files still have these fingerprints.
pub(crate) fn unchanged<'f>(files: impl IntoIterator<Item = &'f (PathBuf, Fingerprint)>) -> bool {
    let mut looks = Looks::default();
    files
        .into_iter()
        .all(|(path, then)| looks.at(path).is_ok_and(|now| now == *then))
}

/// Looks at many files. Those that a profile includes are in few directories: if two files in succession
/// are in one, it is opened, and the kernel does not walk its path again for each.
#[derive(Debug, Default)]
struct Looks<'f> {
    /// The path of the directory of the last file, up to its last `/`.
    directory: &'f [u8],
    opened: Option<File>,
}

impl<'f> Looks<'f> {
    /// As [`Fingerprint::at`].
    fn at(&mut self, path: &'f Path) -> io::Result<Fingerprint> {
        let bytes = path.as_os_str().as_bytes();
        let end = bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let (directory, name) = bytes.split_at_checked(end).unwrap_or_default();
        if directory.is_empty() {
            return Fingerprint::at(path);
        }
        if directory != self.directory {
            self.directory = directory;
            self.opened = None;
            return Fingerprint::at(path);
        }
        if self.opened.is_none() {
            let mut options = File::options();
            let options = options.read(true).custom_flags(libc::O_PATH);
            self.opened = options.open(OsStr::from_bytes(directory)).ok();
        }
        let (Some(opened), [_, name @ ..]) = (&self.opened, name) else {
            return Fingerprint::at(path);
        };
        match fstatat(opened, OsStr::from_bytes(name), AtFlags::empty()) {
            Ok(found) => Ok(Fingerprint::of_stat(&found)),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(Fingerprint::ABSENT),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_change_a_file_changes_its_fingerprint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let old = UNIX_EPOCH + Duration::from_secs(1);
        let write = |text: &str| {
            fs::write(&path, text).unwrap();
            // `cp -p` and `rsync -t` also set mtime.
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(old)
                .unwrap();
            // One tick of the file system's clock is 1 to 10 ms.
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(Fingerprint::at(&path).unwrap(), Fingerprint::ABSENT);
        assert_eq!(
            Fingerprint::at(&path.join("below")).unwrap(),
            Fingerprint::ABSENT
        );
        write("one");
        let one = Fingerprint::at(&path).unwrap();
        assert_eq!(Fingerprint::at(&path).unwrap(), one);
        assert_eq!(
            Fingerprint::at(&path.join("below")).unwrap(),
            Fingerprint::ABSENT
        );
        write("two");
        let two = Fingerprint::at(&path).unwrap();
        assert_ne!(two, one);
        let other = dir.path().join("g");
        fs::copy(&path, &other).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(Fingerprint::at(&path).unwrap(), two);
    }

    #[test]
    fn files_beside_each_other_are_looked_at_from_their_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("d")).unwrap();
        for name in ["a", "b", "d/c"] {
            fs::write(path(name), name).unwrap();
        }
        std::os::unix::fs::symlink("a", path("link")).unwrap();
        std::os::unix::fs::symlink("loop", path("loop")).unwrap();
        let names = [
            "a", "b", "none", "link", "d", "d/c", "d/c", "d/none", "a/x", "a/y", "a", "n/a", "n/b",
        ];
        let paths = names.map(path);
        let mut looks = Looks::default();
        for path in &paths {
            let whole = Fingerprint::at(path).unwrap();
            assert_eq!(looks.at(path).unwrap(), whole, "{}", path.display());
        }
        for other in ["/", "/etc", "/usr", ".", "", "src"].map(Path::new) {
            let whole = Fingerprint::at(other).unwrap();
            assert_eq!(looks.at(other).unwrap(), whole, "{}", other.display());
        }
        let [before, looped] = ["a", "loop"].map(path);
        let mut looks = Looks::default();
        assert!(looks.at(&before).is_ok() && looks.at(&looped).is_err());
        let known: Vec<_> = paths
            .iter()
            .map(|path| (path.clone(), Fingerprint::at(path).unwrap()))
            .collect();
        assert!(unchanged(&known));
        fs::write(path("b"), "longer").unwrap();
        assert!(!unchanged(&known));
    }

    #[test]
    fn what_is_written_is_read() {
        let extremes = [i64::MIN, -1, 0, 1, i64::MAX, 255, 4096];
        for fingerprint in [Fingerprint::ABSENT, Fingerprint(Some(extremes))] {
            let text = serde_json::to_string(&fingerprint).unwrap();
            let read: Fingerprint = serde_json::from_str(&text).unwrap();
            assert_eq!(read, fingerprint, "{text}");
        }
        for text in [
            "",
            "1.2.3.4.5.6",
            "1.2.3.4.5.6.7.8",
            "1.2.3.4.5.6.-7",
            "1.2.3.4.5.6.g",
            "none",
        ] {
            let text = serde_json::to_string(text).unwrap();
            assert!(
                serde_json::from_str::<Fingerprint>(&text).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_file_that_was_just_written_is_not_settled() {
        let dir = tempfile::tempdir().unwrap();
        let fingerprint = Fingerprint::at(dir.path()).unwrap();
        let now = SystemTime::now();
        assert!(!fingerprint.is_settled(now));
        assert!(fingerprint.is_settled(now + Duration::from_secs(3)));
        assert!(
            !fingerprint.is_settled(UNIX_EPOCH),
            "the ctime is in the future"
        );
        assert!(Fingerprint::ABSENT.is_settled(now));
    }
}

//! Compiled policy that is kept, by what it was compiled from.
//!
//! The compiler's own cache goes by base name and mtime, and hands out another profile's policy,
//! or yesterday's, without a word. Here the key is a digest of everything that the policy depends
//! on, so an entry is never out of date; and an entry says of itself what it must be, so a torn
//! one is noticed. Entries of several kernels lie side by side.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::fs::{temporary, trusted};

/// How every entry begins; its digest and the policy follow.
const MAGIC: &[u8] = b"oci-apparmor policy 1\n";

/// The largest entry: the largest policy and what stands before it.
const MAX: u64 = (32 << 20) + 64;

/// How much later a use is worth a write.
const RECENTLY: Duration = Duration::from_secs(60);

/// What a temporary file's name begins with; its [`mark`](temporary::mark) follows.
const TEMPORARY: &str = "tmp-";

/// The cache of one node.
#[derive(Debug)]
pub(crate) struct Cache<'s> {
    directory: &'s Path,
}

/// The name of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// The key of what is compiled from a content by a toolchain.
    pub(crate) fn of(content: &[u8; 32], toolchain: &[u8; 32], complain: bool) -> Self {
        let mut digest = Sha256::new_with_prefix(MAGIC);
        digest.update(content);
        digest.update(toolchain);
        digest.update([u8::from(complain)]);
        Self(digest.finalize().into())
    }

    /// The key of this file name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            let start = place.checked_mul(2)?;
            let digits = name.get(start..start.checked_add(2)?)?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(Self(bytes)).filter(|key| key.file_name() == name)
    }

    /// The name of its file.
    pub(crate) fn file_name(&self) -> String {
        hexadecimal(&self.0)
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl<'s> Cache<'s> {
    pub(crate) fn at(directory: &'s Path) -> Self {
        Self { directory }
    }

    /// The policy of this key. An entry that is not what it says is removed.
    pub(crate) fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let path = self.directory.join(key.file_name());
        trusted::own_directory_as_it_is(self.directory).ok()?;
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path)
            .ok()?;
        let policy = match contents(&file, key) {
            Some(policy) => policy,
            None => {
                log::debug!("the entry {} is damaged and removed", path.display());
                let _ = fs::remove_file(&path);
                return None;
            }
        };
        // gc goes by when an entry was last used, more or less.
        let now = SystemTime::now();
        let used = file.metadata().and_then(|meta| meta.modified());
        if used.is_ok_and(|used| now.duration_since(used).is_ok_and(|since| since > RECENTLY)) {
            let _ = file.set_modified(now);
        }
        Some(policy)
    }

    /// Keeps the policy of this key: on disk as a whole, or not at all.
    ///
    /// # Errors
    /// Where it cannot be kept; nothing depends on it.
    pub(crate) fn put(&self, key: &Key, policy: &[u8]) -> Result<()> {
        trusted::own_directory(self.directory, 0o700)?;
        let path = self.directory.join(key.file_name());
        let temporary = self
            .directory
            .join(format!("{TEMPORARY}{}", temporary::mark()));
        let written = (|| -> io::Result<()> {
            // Left over by a process of this mark that was killed.
            match fs::remove_file(&temporary) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(&[MAGIC, &seal(key, policy), policy].concat())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(self.directory)?.sync_all()
        })();
        written.map_err(|e| {
            let _ = fs::remove_file(&temporary);
            Error::io("write", &path, &e)
        })
    }

    /// Removes what was not used for longest until at most `limit` bytes are left, and what
    /// killed processes left over. Returns how many files went, and their bytes.
    ///
    /// # Errors
    /// Where the directory is not ours, or cannot be listed.
    pub(crate) fn shrink(&self, limit: u64) -> Result<(u64, u64)> {
        if self.directory.symlink_metadata().is_err() {
            return Ok((0, 0));
        }
        trusted::own_directory_as_it_is(self.directory)?;
        let entries = fs::read_dir(self.directory)
            .map_err(|e| Error::io("list", self.directory, &e))?
            .flatten();
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        let mut gone = (0_u64, 0_u64);
        let mut remove = |path: &Path, size: u64| {
            if fs::remove_file(path).is_ok() {
                gone = (gone.0.saturating_add(1), gone.1.saturating_add(size));
            }
        };
        for entry in entries {
            let Ok(meta) = entry.metadata() else { continue };
            let name = entry.file_name();
            let writer = name.to_str().and_then(|n| n.strip_prefix(TEMPORARY));
            match writer {
                Some(mark) if temporary::is_left_over(mark, &meta) => {
                    remove(&entry.path(), meta.len());
                }
                Some(_) => {}
                None => {
                    let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                    files.push((used, meta.len(), entry.path()));
                }
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in &files {
            if total <= limit {
                break;
            }
            remove(path, *size);
            total = total.saturating_sub(*size);
        }
        Ok(gone)
    }
}

/// What an entry must have before its policy; bound to its name, so that none stands for another.
fn seal(key: &Key, policy: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix(key.0)
        .chain_update(policy)
        .finalize()
        .into()
}

fn contents(file: &File, key: &Key) -> Option<Vec<u8>> {
    let bytes = trusted::own_file(file, MAX)?;
    let (sealed, policy) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
    (*sealed == seal(key, policy)).then(|| policy.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn key(n: u8) -> Key {
        Key::of(&[n; 32], &[0; 32], false)
    }

    #[test]
    fn what_is_kept_comes_back_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("cache");
        let cache = Cache::at(&inside);
        assert_eq!(cache.get(&key(1)), None);
        cache.put(&key(1), b"policy").unwrap();
        assert_eq!(cache.get(&key(1)).unwrap(), b"policy");
        assert_eq!(cache.get(&key(2)), None);
        assert_eq!(Key::parse(&key(1).file_name()), Some(key(1)));
        for bad in [
            "",
            "00",
            &"+0".repeat(32),
            &"AB".repeat(32),
            &"00".repeat(33),
        ] {
            assert_eq!(Key::parse(bad), None, "{bad}");
        }
        assert_ne!(Key::of(&[1; 32], &[0; 32], true), key(1));
        assert_ne!(Key::of(&[1; 32], &[1; 32], false), key(1));
        let meta = fs::metadata(&inside).unwrap();
        assert_eq!(meta.mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&inside).unwrap().count(), 1);
    }

    #[test]
    fn damaged_entries_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let path = dir.path().join(key(1).file_name());
        cache.put(&key(1), b"policy").unwrap();
        let whole = fs::read(&path).unwrap();
        let other = {
            cache.put(&key(2), b"another").unwrap();
            fs::read(dir.path().join(key(2).file_name())).unwrap()
        };
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let truncated = (0..whole.len()).map(|end| whole[..end].to_vec());
        for bytes in truncated.chain([flipped, other, [whole.clone(), vec![0]].concat()]) {
            fs::write(&path, &bytes).unwrap();
            assert_eq!(cache.get(&key(1)), None);
            assert!(!path.exists());
        }
        fs::write(&path, &whole).unwrap();
        std::os::unix::fs::chown(&path, Some(7), None).unwrap();
        assert_eq!(cache.get(&key(1)), None);
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert_eq!(cache.get(&key(1)), None);
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let old = SystemTime::now() - Duration::from_secs(1000);
        for n in 1..=4 {
            cache.put(&key(n), &[0; 1000]).unwrap();
            let file = File::options()
                .write(true)
                .open(dir.path().join(key(n).file_name()))
                .unwrap();
            file.set_modified(old + Duration::from_secs(n.into()))
                .unwrap();
        }
        // Used just now.
        cache.get(&key(1)).unwrap();
        fs::write(dir.path().join("tmp-4294967295"), "left over").unwrap();
        let own = dir.path().join(format!("tmp-{}", temporary::mark()));
        fs::write(&own, "being written").unwrap();
        assert_eq!(cache.shrink(1 << 20).unwrap(), (1, 9));
        assert_eq!(cache.shrink(2500).unwrap().0, 2);
        assert!(own.exists());
        let left: Vec<_> = (1..=4).filter(|n| cache.get(&key(*n)).is_some()).collect();
        assert_eq!(left, [1, 4]);
        assert_eq!(Cache::at(Path::new("/nowhere")).shrink(0).unwrap(), (0, 0));
    }
}

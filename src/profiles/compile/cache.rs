//! The cache of compiled policy, by what the policy was compiled from.
//!
//! The parser's own cache looks entries up by base name and mtime; it can silently return the
//! policy of another profile or an outdated one. Here the key is a digest of everything that the
//! policy depends on, so an entry is never outdated. An entry contains a digest of itself, so a
//! damaged one is recognised. Policy for several kernels can be in the cache.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::fs::replace::{self, Options};
use crate::fs::{own, temporary};
use crate::profiles::compile::key::{CacheKey, FORMAT};

/// The largest entry: the largest policy, and the bytes before it.
const MAX: u64 = (32 << 20) + 64;

/// The time of the last use is only written if it is older than this.
const USE_INTERVAL: Duration = Duration::from_secs(60);

/// How the names of temporary files begin; a [`mark`](temporary::mark) follows.
const TEMPORARY: &str = "tmp-";

/// The cache of this node.
#[derive(Debug)]
pub(crate) struct Cache<'s> {
    directory: &'s Path,
}

impl<'s> Cache<'s> {
    pub(crate) fn at(directory: &'s Path) -> Self {
        Self { directory }
    }

    /// The policy with this key. A damaged entry is removed.
    pub(super) fn get(&self, key: &CacheKey) -> Option<Vec<u8>> {
        let path = self.directory.join(key.file_name());
        own::check_directory(self.directory).ok()?;
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path)
            .ok()?;
        let policy = match contents(&file, key) {
            Some(policy) => policy,
            None => {
                log::debug!("removing the damaged cache entry {}", path.display());
                let _ = fs::remove_file(&path);
                return None;
            }
        };
        // `gc` removes the entries that were not used for the longest time.
        let now = SystemTime::now();
        let used = file.metadata().and_then(|meta| meta.modified());
        if used.is_ok_and(|used| now.duration_since(used).is_ok_and(|age| age > USE_INTERVAL)) {
            let _ = file.set_modified(now);
        }
        Some(policy)
    }

    /// Writes the policy with this key, in one step and synced to disk.
    ///
    /// # Errors
    /// If it cannot be written. Nothing depends on it.
    pub(super) fn put(&self, key: &CacheKey, policy: &[u8]) -> Result<()> {
        own::directory(self.directory, 0o700)?;
        let path = self.directory.join(key.file_name());
        let temporary = self
            .directory
            .join(format!("{TEMPORARY}{}", temporary::mark()));
        let bytes = [FORMAT, &seal(key, policy), policy].concat();
        replace::replace(&path, &temporary, &bytes, Options::private().durable())
            .map_err(|e| Error::io("write", &path, &e))
    }

    /// Removes temporary files that were left behind, and the entries that were not used for the
    /// longest time, until at most `limit` bytes are left. Returns the number of removed files and
    /// of their bytes.
    ///
    /// # Errors
    /// If other users can write the directory, or if it cannot be read.
    pub(crate) fn shrink(&self, limit: u64) -> Result<(u64, u64)> {
        if self.directory.symlink_metadata().is_err() {
            return Ok((0, 0));
        }
        own::check_directory(self.directory)?;
        let entries = fs::read_dir(self.directory)
            .map_err(|e| Error::io("list", self.directory, &e))?
            .flatten();
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        let mut removed = (0_u64, 0_u64);
        let mut remove = |path: &Path, size: u64| {
            if fs::remove_file(path).is_ok() {
                removed = (removed.0.saturating_add(1), removed.1.saturating_add(size));
            }
        };
        for entry in entries {
            let Ok(meta) = entry.metadata() else { continue };
            let name = entry.file_name();
            let mark = name.to_str().and_then(|n| n.strip_prefix(TEMPORARY));
            match mark {
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
        Ok(removed)
    }
}

/// The digest in an entry. It includes the key, so that no entry can be renamed to another one.
fn seal(key: &CacheKey, policy: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix(key.0)
        .chain_update(policy)
        .finalize()
        .into()
}

fn contents(file: &File, key: &CacheKey) -> Option<Vec<u8>> {
    let bytes = own::read(file, MAX)?;
    let (sealed, policy) = bytes.strip_prefix(FORMAT)?.split_first_chunk::<32>()?;
    (*sealed == seal(key, policy)).then(|| policy.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn key(n: u8) -> CacheKey {
        CacheKey::of(&[n; 32], &[0; 32], false)
    }

    #[test]
    fn an_entry_is_found_by_its_key_only() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("cache");
        let cache = Cache::at(&inside);
        assert_eq!(cache.get(&key(1)), None);
        cache.put(&key(1), b"policy").unwrap();
        assert_eq!(cache.get(&key(1)).unwrap(), b"policy");
        assert_eq!(cache.get(&key(2)), None);
        let meta = fs::metadata(&inside).unwrap();
        assert_eq!(meta.mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&inside).unwrap().count(), 1);
    }

    #[test]
    fn damaged_entries_are_removed() {
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
    fn entries_that_were_not_used_are_removed_first() {
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
        let left = dir.path().join("tmp-4294967295");
        fs::write(&left, "left over").unwrap();
        File::options()
            .write(true)
            .open(left)
            .and_then(|left| left.set_modified(old))
            .unwrap();
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

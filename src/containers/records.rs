//! The files of records, `/run/oci-apparmor/containers`.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::containers::record::{self, ContainerKey, Record};
use crate::containers::records_lock::{self, directory};
use crate::error::{Error, Result};
use crate::fs::{digest, real_path, run};

/// Larger than any record: Kubernetes limits annotations to 256 KiB.
const MAX: u64 = 1 << 20;

/// The file of a container's record. Different spellings of a root give one file.
fn file(key: ContainerKey<'_>) -> Result<PathBuf> {
    let root = resolved(key.root);
    let root = digest::short(root.as_os_str().as_bytes());
    Ok(directory()?.join(root).join(key.id))
}

/// The real path of a root. If it does not exist yet, its existing part is resolved.
fn resolved(root: &Path) -> PathBuf {
    for ancestor in root.ancestors() {
        if let (Ok(real), Ok(rest)) = (real_path::of(ancestor), root.strip_prefix(ancestor)) {
            return real.components().chain(rest.components()).collect();
        }
    }
    root.to_owned()
}

/// Reads a record; `None` if there is none that can be used. Without a run-time directory there are
/// no records: calls that need none go on, and those that need one fail when they write it.
#[must_use]
pub fn read(key: ContainerKey<'_>) -> Option<Record> {
    read_file(&file(key).ok()?).filter(|record| record.id == key.id)
}

fn read_file(path: &Path) -> Option<Record> {
    serde_json::from_slice::<Record>(&run::read(path, MAX)?)
        .ok()
        .filter(Record::is_supported)
}

/// Whether there is a record, usable or not. If that cannot be determined, there is one.
#[must_use]
pub fn exists(key: ContainerKey<'_>) -> bool {
    let found = file(key).map(|file| file.symlink_metadata());
    found.is_ok_and(|found| !found.is_err_and(|e| e.kind() == io::ErrorKind::NotFound))
}

/// The version of a record that a newer program wrote.
#[must_use]
pub fn newer_version(key: ContainerKey<'_>) -> Option<u32> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let bytes = run::read(&file(key).ok()?, MAX)?;
    let record: Versioned = serde_json::from_slice(&bytes).ok()?;
    Some(record.version).filter(|version| record::is_newer(*version))
}

/// All records of this node, or of this rootless user, by root and id.
///
/// # Errors
/// If the run-time directory is unknown or cannot be listed.
pub fn all() -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for root in run::list(&directory()?)? {
        records.extend(run::list(&root)?.iter().filter_map(|file| read_file(file)));
    }
    records.sort_by(|a, b| (&a.root, &a.id).cmp(&(&b.root, &b.id)));
    Ok(records)
}

/// Writes a record atomically.
///
/// # Errors
/// If it cannot be written. The container must then not be created.
pub fn write(record: &Record) -> Result<()> {
    RecordPath::of(record.container_key())?.write(record)
}

/// Where the record of a container is, or will be.
#[derive(Debug)]
pub struct RecordPath(PathBuf);

impl RecordPath {
    /// That of this container.
    ///
    /// # Errors
    /// If the run-time directory is unknown.
    pub fn of(key: ContainerKey<'_>) -> Result<Self> {
        file(key).map(Self)
    }

    /// Writes the record atomically.
    ///
    /// # Errors
    /// If it cannot be written. The container must then not be created.
    pub fn write(&self, record: &Record) -> Result<()> {
        let path = &self.0;
        let text = serde_json::to_vec(record).map_err(|e| Error::io("write", path, &e.into()))?;
        // `gc` must not take this record for an old one of the same name. If the lock is not to be had
        // in time, the record is written without it.
        let _lock = records_lock::shared()?;
        run::replace(path, &text).map_err(|e| {
            e.about("the record of the container")
                .with_remedy("free space in /run, or make it writable")
        })
    }

    /// Removes the record of an earlier container with this id, if there is one.
    ///
    /// # Errors
    /// If there is one and it cannot be removed.
    pub fn remove(&self) -> Result<()> {
        if remove_file(&self.0)?
            && let Some(root) = self.0.parent()
        {
            remove_if_empty(root);
        }
        Ok(())
    }
}

/// Whether the container of this record is known not to exist any more: it was deleted, or a later
/// one has its id. If that cannot be determined, it exists.
#[must_use]
pub fn is_outdated(record: &Record) -> bool {
    let key = record.container_key();
    match read(key) {
        Some(now) => !now.is_of_the_same_container_as(record),
        None => !exists(key),
    }
}

/// Removes the record of an earlier container with this id, if there is one.
///
/// # Errors
/// If there is one and it cannot be removed.
pub fn remove(key: ContainerKey<'_>) -> Result<()> {
    // Without a run-time directory there are no records.
    RecordPath::of(key).map_or(Ok(()), |file| file.remove())
}

/// Removes this record, unless the file is that of a later container with the same id.
///
/// No lock is taken: many containers can end at once, and each would wait for all others. The file is
/// renamed first, then read, and renamed back if it is not the expected record.
///
/// # Errors
/// If it cannot be removed. `gc` removes it later.
pub fn forget(record: &Record) -> Result<()> {
    let key = record.container_key();
    let is_it = |now: Record| now.is_of_the_same_container_as(record);
    if !read(key).is_some_and(is_it) {
        return Ok(());
    }
    let path = file(key)?;
    let Some(aside) = run::take(&path)? else {
        return Ok(());
    };
    if read_file(&aside).is_none_or(is_it) {
        remove_file(&aside)?;
    } else {
        run::put_back(&aside, &path)?;
    }
    if let Some(root) = path.parent() {
        remove_if_empty(root);
    }
    Ok(())
}

/// Removes a file; whether it was there.
fn remove_file(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io("remove the record", path, &e)),
    }
}

/// Removes the directory of a root that has no records any more; many roots are used only once. While
/// another process writes a record, which may be for this root, the directory is left to the next
/// container that ends, or to `gc`.
fn remove_if_empty(root: &Path) {
    // If many containers end at once, usually only the last one waits for the lock.
    let is_empty = fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_none());
    if is_empty && let Ok(Some(_lock)) = records_lock::try_exclusive() {
        // rmdir(2) removes only empty directories.
        let _ = fs::remove_dir(root);
    }
}

/// Removes the records for which `is_gone`, and directories without records. Returns the number of
/// removed records.
///
/// # Errors
/// If the records cannot be listed or locked.
pub fn tidy(is_gone: impl Fn(&Record) -> bool) -> Result<u64> {
    let mut count: u64 = 0;
    for root in run::list(&directory()?)? {
        for file in run::list(&root)? {
            records_lock::exclusive(|| {
                // A record of a newer version belongs to a newer program, and is kept.
                let remove = read_file(&file).is_some_and(|record| is_gone(&record));
                if remove && fs::remove_file(&file).is_ok() {
                    count = count.saturating_add(1);
                }
            })?;
        }
        // rmdir(2) removes only empty directories.
        records_lock::exclusive(|| drop(fs::remove_dir(&root)))?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_spellings_of_a_root_are_one_root() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        fs::create_dir(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        let same = resolved(&dir.path().join("real/later"));
        assert_eq!(resolved(&link.join("later")), same);
        assert_eq!(resolved(&dir.path().join("./real//later/")), same);
        assert_ne!(resolved(&dir.path().join("later")), same);
    }

    #[test]
    fn unusable_files_are_no_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let key = ContainerKey {
            root: Path::new("/r"),
            id: "c",
        };
        let mut record = Record::new("runc", key, Path::new("/b"));
        let put = |record: &Record| fs::write(&path, serde_json::to_vec(record).unwrap()).unwrap();
        put(&record);
        assert_eq!(read_file(&path).as_ref(), Some(&record));
        std::os::unix::fs::chown(&path, Some(7), None).unwrap();
        assert!(read_file(&path).is_none());
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        for (version, is_read) in [(0, false), (1, true), (2, true), (3, false)] {
            record.version = version;
            put(&record);
            assert_eq!(read_file(&path).is_some(), is_read, "{version}");
        }
        for text in ["", "{", "{}", "null"] {
            fs::write(&path, text).unwrap();
            assert!(read_file(&path).is_none());
        }
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(read_file(&path).is_none());
    }
}

//! What is remembered of a container: which label it has, for `exec`, `start` and `restore`.
//!
//! Engines build `exec` from their own memory, which does not know the label that was decided;
//! without a record, what is exec'ed would escape to the engine's default. A record is a cache:
//! if it is lost, the bundle that the runtime remembers still has the label.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::apparmor::loaded::Mode;
use crate::apparmor::name::{Label, ProfileName};
use crate::error::{Error, Result};
use crate::fs::{digest, own, run};
use crate::profiles::Ensured;
use crate::wanted::{Component, Wanted};

/// The version of the format. It is raised where an older program must not rely on a newer record.
const VERSION: u32 = 2;

/// The oldest version that is read: a node is updated while its pods live on. Version 1 had no
/// `uid`.
const OLDEST: u32 = 1;

/// More than any record: annotations are bounded by Kubernetes at 256 KiB.
const MAX: u64 = 1 << 20;

/// How often, every 10 ms, somebody who tidies up is waited for.
const PATIENCE: u32 = 200;

/// The same, for what `gc` does as well.
const SHORT: u32 = 20;

/// What is remembered of one container; `docs/formats.md` describes each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The format's version.
    pub version: u32,
    /// The low-level runtime's name.
    pub runtime: String,
    /// Its program, which the container keeps.
    #[serde(default)]
    pub program: Option<PathBuf>,
    /// The directory of the runtime's containers.
    pub root: PathBuf,
    /// The container's id.
    pub id: String,
    /// The bundle.
    pub bundle: PathBuf,
    /// The label; none for a sandbox that is only remembered for its annotations.
    pub label: Option<Label>,
    /// Each profile of the label.
    pub components: Vec<Recorded>,
    /// Which key asked for it.
    pub key: Option<String>,
    /// The pod's namespace.
    pub namespace: Option<String>,
    /// The pod's name.
    pub pod: Option<String>,
    /// The pod's UID.
    #[serde(default)]
    pub uid: Option<String>,
    /// The container's name in its pod.
    pub container: Option<String>,
    /// The id of its sandbox.
    pub sandbox: Option<String>,
    /// Where the runtime writes the container's process id.
    pub pid_file: Option<PathBuf>,
    /// Of a sandbox, the annotations that its containers must carry too.
    pub annotations: BTreeMap<String, String>,
    /// The process that wrote it, which became the low-level runtime.
    pub writer: u32,
    /// When it was written, RFC 3339.
    pub time: String,
}

/// One profile of a recorded label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The profile.
    pub name: ProfileName,
    /// The mode that it must have.
    pub wanted: Wanted,
    /// The mode that it had.
    pub mode: Mode,
    /// The kernel's directory of it.
    pub directory: String,
}

impl Record {
    /// Whether both are of one container: an `exec` may have written it anew meanwhile, a later
    /// container of the same id has another writer.
    fn is_of_the_same_container_as(&self, other: &Self) -> bool {
        (self.writer, &self.time, &self.bundle) == (other.writer, &other.time, &other.bundle)
    }
}

impl Recorded {
    /// What is recorded of a profile that was ensured.
    #[must_use]
    pub fn of(ensured: &Ensured) -> Self {
        Self {
            name: ensured.component.name.clone(),
            wanted: ensured.component.wanted,
            mode: ensured.loaded.mode,
            directory: ensured.loaded.directory.clone(),
        }
    }

    /// A profile that has not been looked up yet.
    #[must_use]
    pub fn wanted(component: Component) -> Self {
        let Component { name, wanted } = component;
        Self {
            name,
            wanted,
            mode: Mode::Enforce,
            directory: String::new(),
        }
    }

    /// What an `exec` needs.
    #[must_use]
    pub fn component(&self) -> Component {
        Component {
            name: self.name.clone(),
            wanted: self.wanted,
        }
    }
}

/// Which container a record is about.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The directory of the runtime's containers.
    pub root: &'a Path,
    /// The container's id, which is a file name.
    pub id: &'a str,
}

impl Place<'_> {
    /// The record's file. Roots that are spelled differently are one root.
    fn file(self) -> Result<PathBuf> {
        let root = real(self.root);
        let root = digest::short(root.as_os_str().as_bytes());
        Ok(run::path()?.join("containers").join(root).join(self.id))
    }
}

/// The real path of a root that may not exist yet: the part that does is resolved.
fn real(root: &Path) -> PathBuf {
    for ancestor in root.ancestors() {
        if let (Ok(resolved), Ok(rest)) = (fs::canonicalize(ancestor), root.strip_prefix(ancestor))
        {
            return resolved.components().chain(rest.components()).collect();
        }
    }
    root.to_owned()
}

/// Reads a record; `None` where there is none that can be relied on. Where there is no place for
/// records there are none: what needs none goes on, and what needs one cannot be written.
#[must_use]
pub fn read(place: Place<'_>) -> Option<Record> {
    read_file(&place.file().ok()?).filter(|record| record.id == place.id)
}

/// Whether there is a record, be it one that cannot be relied on, or looked at.
#[must_use]
pub fn is_there(place: Place<'_>) -> bool {
    let found = place.file().map(|file| file.symlink_metadata());
    found.is_ok_and(|found| !found.is_err_and(|e| e.kind() == io::ErrorKind::NotFound))
}

fn read_file(path: &Path) -> Option<Record> {
    serde_json::from_slice::<Record>(&run::read(path, MAX)?)
        .ok()
        .filter(|r| (OLDEST..=VERSION).contains(&r.version))
}

/// The version of a record that a newer program wrote.
#[must_use]
pub fn newer(place: Place<'_>) -> Option<u32> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let bytes = run::read(&place.file().ok()?, MAX)?;
    let record: Versioned = serde_json::from_slice(&bytes).ok()?;
    Some(record.version).filter(|version| *version > VERSION)
}

/// All records of this node, or of this rootless user; by root and id.
///
/// # Errors
/// Where the run-time directory is unknown or cannot be listed.
pub fn all() -> Result<Vec<Record>> {
    let directory = run::path()?.join("containers");
    let mut records = Vec::new();
    for root in run::list(&directory)? {
        records.extend(run::list(&root)?.iter().filter_map(|file| read_file(file)));
    }
    records.sort_by(|a, b| (&a.root, &a.id).cmp(&(&b.root, &b.id)));
    Ok(records)
}

/// Writes a record, whole or not at all.
///
/// # Errors
/// Where it cannot be written; the container must then not be made.
pub fn write(record: &Record) -> Result<()> {
    let place = Place {
        root: &record.root,
        id: &record.id,
    };
    let path = place.file()?;
    let text = serde_json::to_vec(record).map_err(|e| Error::io("write", &path, &e.into()))?;
    // Whoever tidies up must not take this one for an old one of its name. Where that does not
    // come to an end, the record matters more.
    let _together = together()?;
    run::replace(&path, &text).map_err(|e| {
        e.about("the record of the container")
            .with_remedy("free or repair /run")
    })
}

/// The directory of all records, locked together with others that write.
pub(crate) fn together() -> Result<Option<File>> {
    directory(File::try_lock_shared, PATIENCE)
}

/// The directory of all records, locked; `None` where it was not to be had in that many steps of
/// 10 ms.
fn directory(
    lock: fn(&File) -> std::result::Result<(), TryLockError>,
    patience: u32,
) -> Result<Option<File>> {
    let path = run::path()?.join("containers");
    own::directory(&path, 0o700)?;
    let directory = File::open(&path).map_err(|e| Error::io("open", &path, &e))?;
    for _ in 0..patience {
        match lock(&directory) {
            Ok(()) => return Ok(Some(directory)),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            // A file system without locks.
            Err(TryLockError::Error(_)) => break,
        }
    }
    Ok(None)
}

/// Does `work` while nothing is written to `/run`. To be done in a moment: a container that is
/// being made waits for it.
///
/// # Errors
/// Where the directory of all records cannot be locked; nothing is done where it is not there.
pub(crate) fn alone(work: impl FnOnce()) -> Result<()> {
    let path = run::path()?.join("containers");
    let directory = match File::open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(|e| Error::io("open", &path, &e))?,
    };
    directory.lock().map_err(|e| Error::io("lock", &path, &e))?;
    work();
    Ok(())
}

/// Removes the records of containers that are `gone`, and directories without records; returns
/// how many records went.
///
/// # Errors
/// Where they cannot be listed or locked.
pub fn tidy(gone: impl Fn(&Record) -> bool) -> Result<u64> {
    let mut count: u64 = 0;
    for root in run::list(&run::path()?.join("containers"))? {
        for file in run::list(&root)? {
            alone(|| {
                // A record of another version is somebody's who knows more.
                let is_gone = read_file(&file).is_some_and(|record| gone(&record));
                if is_gone && fs::remove_file(&file).is_ok() {
                    count = count.saturating_add(1);
                }
            })?;
        }
        // Only an empty one can be removed.
        alone(|| drop(fs::remove_dir(&root)))?;
    }
    Ok(count)
}

/// Removes the record of an earlier container of this id, if there is one.
///
/// # Errors
/// Where it is there and cannot be removed.
pub fn remove(place: Place<'_>) -> Result<()> {
    let Ok(path) = place.file() else {
        return Ok(());
    };
    remove_file(&path)?;
    if let Some(root) = path.parent() {
        tidy_root(root);
    }
    Ok(())
}

/// Whether the container of this record is known to be no more: it was deleted, or there is a later
/// one by its id. What cannot be told is no.
pub fn is_outdated(record: &Record) -> bool {
    let place = Place {
        root: &record.root,
        id: &record.id,
    };
    match read(place) {
        Some(now) => !now.is_of_the_same_container_as(record),
        None => !is_there(place),
    }
}

/// Removes this record, unless another container has come by its id meanwhile.
///
/// There is no lock for this: dozens of containers can end at once, and each would wait for all
/// others. The file is taken aside by one rename, and put back if it is not the one that was read.
///
/// # Errors
/// Where it is there and cannot be removed; `gc` does later.
pub fn forget(record: &Record) -> Result<()> {
    let place = Place {
        root: &record.root,
        id: &record.id,
    };
    let is_it = |now: Record| now.is_of_the_same_container_as(record);
    if !read(place).is_some_and(is_it) {
        return Ok(());
    }
    let path = place.file()?;
    let Some(aside) = run::take(&path)? else {
        return Ok(());
    };
    if read_file(&aside).is_none_or(is_it) {
        remove_file(&aside)?;
    } else {
        run::put_back(&aside, &path)?;
    }
    if let Some(root) = path.parent() {
        tidy_root(root);
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove the record", path, &e))
        }
        _ => Ok(()),
    }
}

/// Removes the directory of a root without records: of many roots there is never another
/// container. Not while another process writes a record, which may have just made it; then it is
/// left to the next one that ends, or to `gc`.
fn tidy_root(root: &Path) {
    // Of containers that end at once, usually the last one alone waits for the lock.
    let is_empty = fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_none());
    if is_empty && let Ok(Some(_alone)) = directory(File::try_lock, SHORT) {
        // Only an empty one can be removed.
        let _ = fs::remove_dir(root);
    }
}

/// A record without anything that is optional.
#[must_use]
pub fn empty(runtime: &str, place: Place<'_>, bundle: &Path) -> Record {
    Record {
        version: VERSION,
        runtime: runtime.to_owned(),
        program: None,
        root: place.root.to_owned(),
        id: place.id.to_owned(),
        bundle: bundle.to_owned(),
        label: None,
        components: Vec::new(),
        key: None,
        namespace: None,
        pod: None,
        uid: None,
        container: None,
        sandbox: None,
        pid_file: None,
        annotations: BTreeMap::new(),
        writer: std::process::id(),
        time: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_that_are_spelled_differently_are_one() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        fs::create_dir(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        let same = real(&dir.path().join("real/later"));
        assert_eq!(real(&link.join("later")), same);
        assert_eq!(real(&dir.path().join("./real//later/")), same);
        assert_ne!(real(&dir.path().join("later")), same);
    }

    #[test]
    fn what_is_not_a_record_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let place = Place {
            root: Path::new("/r"),
            id: "c",
        };
        let mut record = empty("runc", place, Path::new("/b"));
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

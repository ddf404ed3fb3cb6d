//! Counts of what happened since boot, for `oci-apparmor metrics`: one file for each event, whose
//! size is the count. There is no daemon that could hold them.
//!
//! Only rare events are counted: a start that finds everything as it must be writes nothing. One
//! byte is appended with `O_APPEND`, so no lock is needed. A failure is ignored, because no container
//! may depend on a count: with a read-only or full `/run` nothing is counted.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::Kind;
use crate::fs::{own, run};

/// The size to which `gc` lets a file grow, in bytes.
const MAX: u64 = 1 << 20;

/// An event that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// A profile was loaded that the kernel did not have.
    Load,
    /// A loaded profile was replaced, because it differed from its source.
    ReloadDrift,
    /// A loaded profile was replaced, because the parser or the kernel has changed.
    ReloadToolchain,
    /// A profile could not be loaded from its source.
    LoadFailure,
    /// A source was compiled, to load it.
    Compile,
    /// The compiled policy of a source was found in the cache, to load it.
    CacheHit,
    /// A container, or a process of `exec`, ran without its label, and was killed.
    LabelViolation,
    /// A call was refused, for this kind of reason.
    Refusal(Kind),
}

impl Counter {
    /// All events.
    pub const ALL: [Self; 14] = [
        Self::Load,
        Self::ReloadDrift,
        Self::ReloadToolchain,
        Self::LoadFailure,
        Self::Compile,
        Self::CacheHit,
        Self::LabelViolation,
        Self::Refusal(Kind::Usage),
        Self::Refusal(Kind::NotFound),
        Self::Refusal(Kind::DoesNotCompile),
        Self::Refusal(Kind::Policy),
        Self::Refusal(Kind::KernelOff),
        Self::Refusal(Kind::Configuration),
        Self::Refusal(Kind::Internal),
    ];

    /// The name of its file.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::ReloadDrift => "reload-drift",
            Self::ReloadToolchain => "reload-toolchain",
            Self::LoadFailure => "load-failure",
            Self::Compile => "compile",
            Self::CacheHit => "cache-hit",
            Self::LabelViolation => "label-violation",
            Self::Refusal(Kind::Usage) => "refusal-usage",
            Self::Refusal(Kind::NotFound) => "refusal-not-found",
            Self::Refusal(Kind::DoesNotCompile) => "refusal-does-not-compile",
            Self::Refusal(Kind::Policy) => "refusal-policy",
            Self::Refusal(Kind::KernelOff) => "refusal-kernel-off",
            Self::Refusal(Kind::Configuration) => "refusal-configuration",
            Self::Refusal(Kind::Internal) => "refusal-internal",
        }
    }
}

/// Counts an event. A failure is ignored.
pub fn count(event: Counter) {
    if let Some(directory) = directory() {
        let _ = append(&directory, event);
    }
}

/// How often an event was counted since boot, or since `gc` emptied its file.
#[must_use]
pub fn total(event: Counter) -> u64 {
    let file = directory().map(|directory| directory.join(event.file_name()));
    let meta = file.and_then(|file| file.symlink_metadata().ok());
    meta.filter(|meta| meta.is_file())
        .map_or(0, |meta| meta.size())
}

/// Empties the files that have grown too large. Returns how many.
#[must_use]
pub fn gc() -> u64 {
    let Some(directory) = directory() else {
        return 0;
    };
    let large = Counter::ALL
        .into_iter()
        .filter(|event| total(*event) > MAX && empty(&directory.join(event.file_name())).is_ok());
    u64::try_from(large.count()).unwrap_or(u64::MAX)
}

/// The directory of the node. Users other than root have no counters: `metrics` would not see them.
fn directory() -> Option<PathBuf> {
    let base = run::path().ok()?;
    (base == Path::new(run::NODE)).then(|| base.join("counters"))
}

fn append(directory: &Path, event: Counter) -> io::Result<()> {
    let file = directory.join(event.file_name());
    let opened = match open(&file) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let base = Path::new(run::NODE);
            own::directory(base, 0o700)
                .map_err(|_| io::Error::from(ErrorKind::PermissionDenied))?;
            match DirBuilder::new().mode(0o700).create(directory) {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            open(&file)
        }
        opened => opened,
    };
    opened?.write_all(b"\n")
}

fn open(file: &Path) -> io::Result<File> {
    File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(file)
}

fn empty(file: &Path) -> io::Result<()> {
    fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(file)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn each_event_has_a_file_of_its_own() {
        let names: BTreeSet<&str> = Counter::ALL.iter().map(|c| c.file_name()).collect();
        assert_eq!(names.len(), Counter::ALL.len());
    }

    #[test]
    fn the_size_of_a_private_file_is_the_count() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(Counter::Load.file_name());
        for _ in 0..3 {
            append(dir.path(), Counter::Load).unwrap();
        }
        let meta = fs::metadata(&file).unwrap();
        assert_eq!((meta.len(), meta.permissions().mode() & 0o7777), (3, 0o600));
        empty(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().len(), 0);
        // A link in the place of the file is not followed.
        let target = dir.path().join("target");
        fs::write(&target, "").unwrap();
        let link = dir.path().join(Counter::Compile.file_name());
        std::os::unix::fs::symlink(&target, link).unwrap();
        assert!(append(dir.path(), Counter::Compile).is_err());
        assert_eq!(fs::metadata(&target).unwrap().len(), 0);
    }

    #[test]
    fn concurrent_events_are_all_counted() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..100).for_each(|_| append(dir.path(), Counter::Load).unwrap()));
            }
        });
        let file = dir.path().join(Counter::Load.file_name());
        assert_eq!(fs::metadata(file).unwrap().len(), 800);
    }
}

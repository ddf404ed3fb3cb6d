//! The spool: a directory that another user writes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};

use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::fs::bounded;
use oci_apparmor::fs::trusted::{self, TrustError};

/// This file exists while the spool has everything that the cluster has.
const COMPLETE: &str = ".complete";

/// Files that the spool may have besides those of profiles, for example temporary ones.
const OTHERS: usize = 1000;

/// An open spool.
#[derive(Debug)]
pub(super) struct SpoolDirectory {
    path: PathBuf,
    directory: File,
    owner: u32,
}

/// What is in the spool at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SpoolListing {
    /// Whether a profile that is missing here is missing in the cluster, too.
    pub(super) complete: bool,
    /// The files whose name has the right form. They may still be anything.
    pub(super) files: BTreeMap<SpoolEntry, FileVersion>,
    /// How many other entries there are, without temporary files.
    pub(super) rejected: usize,
}

/// The name of a file in the spool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SpoolEntry {
    /// The name of its profile.
    pub(super) profile: String,
    /// What is in it.
    pub(super) kind: SpoolKind,
}

/// What a file of the spool contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SpoolKind {
    /// An `AppArmorProfile` manifest.
    Manifest,
    /// The text of a profile.
    Text,
}

/// What changes when a file is replaced: device, inode, size, and the time of the last change.
pub(super) type FileVersion = (u64, u64, i64, i64, i64);

impl SpoolEntry {
    /// The file of this name, if the name has the right form.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (profile, kind) = match (name.strip_suffix(".yaml"), name.strip_suffix(".profile")) {
            (Some(profile), _) => (profile, SpoolKind::Manifest),
            (_, Some(profile)) => (profile, SpoolKind::Text),
            _ => return None,
        };
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-');
        let good = (1..=200).contains(&profile.len()) && profile.chars().all(named);
        (good && !profile.starts_with('.')).then(|| Self {
            profile: profile.to_owned(),
            kind,
        })
    }

    /// Its name.
    pub(super) fn file_name(&self) -> String {
        let ending = match self.kind {
            SpoolKind::Manifest => "yaml",
            SpoolKind::Text => "profile",
        };
        format!("{}.{ending}", self.profile)
    }
}

impl SpoolDirectory {
    /// Opens the spool; `None` if there is none.
    ///
    /// # Errors
    /// If another user than root could have put it there, or if it is not a directory.
    pub(super) fn open(path: &Path) -> Result<Option<Self>> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        match trusted::directory(parent) {
            Ok(()) => {}
            Err(TrustError::Missing) => return Ok(None),
            Err(e) => return Err(e.about(parent, Kind::Policy)),
        }
        let opened = File::options()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(path);
        let directory = match opened {
            Ok(directory) => directory,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open the directory", path, &e)),
        };
        let meta = directory.metadata();
        let owner = meta.map_err(|e| Error::io("look at", path, &e))?.uid();
        Ok(Some(Self {
            path: path.to_owned(),
            directory,
            owner,
        }))
    }

    /// What is in it.
    ///
    /// # Errors
    /// If it cannot be read, or has too many files for so many profiles.
    pub(super) fn list(&self, profiles: usize) -> Result<SpoolListing> {
        let most = profiles.saturating_mul(2).saturating_add(OTHERS);
        let failed = |e: io::Error| Error::io("list", &self.path, &e);
        let complete = self.is_complete();
        let mut found = SpoolListing::default();
        let mut count: usize = 0;
        // The open directory, whatever has become of its path.
        let entries = format!("/proc/self/fd/{}", self.directory.as_raw_fd());
        for entry in fs::read_dir(entries).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            count = count.saturating_add(1);
            if count > most {
                let why = format!("{} has more than {most} files", self.path.display());
                return Err(Error::new(Kind::Policy, why)
                    .with_remedy("remove files, or raise max_profiles in the section [cluster]"));
            }
            let name = name.to_string_lossy();
            match SpoolEntry::parse(&name) {
                Some(file) => match self.stat(&name) {
                    Ok(stat) => drop(found.files.insert(file, version(&stat))),
                    // It was removed meanwhile.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(failed(e)),
                },
                None if name.starts_with('.') => {}
                None => found.rejected = found.rejected.saturating_add(1),
            }
        }
        // Before and after: a file that appeared after its turn must not count as missing.
        found.complete = complete && self.is_complete();
        Ok(found)
    }

    /// The content of a file, and what it was a version of.
    ///
    /// # Errors
    /// If it is not a regular file of the spool's owner with one name, or larger than `max` bytes.
    pub(super) fn read(&self, file: &SpoolEntry, max: u64) -> Result<Vec<u8>> {
        let name = file.file_name();
        let failed = |e: io::Error| Error::io("read", &self.path.join(&name), &e);
        // Looked at before it is opened: to open a device can have effects.
        self.check(&self.stat(&name).map_err(failed)?)?;
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let open = openat(self.directory.as_fd(), name.as_str(), flags, Mode::empty());
        let open = File::from(open.map_err(|e| failed(e.into()))?);
        let stat = nix::sys::stat::fstat(open.as_fd()).map_err(|e| failed(e.into()))?;
        self.check(&stat)?;
        let bytes = bounded::read(&open, max).map_err(failed)?;
        bytes.ok_or_else(|| {
            let why = format!("the file is larger than {} KiB", max >> 10);
            Error::new(Kind::Policy, why)
                .with_remedy("shorten the profile, or raise max_size in the section [cluster]")
        })
    }

    /// Checks that a file is what its owner wrote into the spool. A hard link could be to a file that
    /// its owner may not read.
    fn check(&self, stat: &FileStat) -> Result<()> {
        let refused = |why: &str| {
            Err(Error::new(Kind::Policy, why)
                .with_remedy("replace it by a regular file of the spool's owner"))
        };
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return refused("it is not a regular file");
        }
        if stat.st_nlink != 1 {
            return refused("it has more than one name (hard links)");
        }
        if stat.st_uid != self.owner && stat.st_uid != 0 {
            return refused("it belongs to another user than the spool");
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.stat(COMPLETE)
            .is_ok_and(|stat| self.check(&stat).is_ok())
    }

    fn stat(&self, name: &str) -> io::Result<FileStat> {
        let stat = fstatat(self.directory.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW);
        stat.map_err(io::Error::from)
    }
}

fn version(stat: &FileStat) -> FileVersion {
    (
        stat.st_dev,
        stat.st_ino,
        stat.st_size,
        stat.st_ctime,
        stat.st_ctime_nsec,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn spool() -> (tempfile::TempDir, SpoolDirectory) {
        let parent = tempfile::Builder::new().tempdir_in("/run").unwrap();
        let path = parent.path().join("spool");
        fs::create_dir(&path).unwrap();
        let spool = SpoolDirectory::open(&path).unwrap().unwrap();
        (parent, spool)
    }

    fn text(profile: &str) -> SpoolEntry {
        SpoolEntry::parse(&format!("{profile}.profile")).unwrap()
    }

    #[test]
    fn names_have_one_form() {
        for name in ["a.yaml", "a.profile", "cluster-a.b_c+d.yaml"] {
            assert_eq!(SpoolEntry::parse(name).unwrap().file_name(), name);
        }
        let long = format!("{}.yaml", "a".repeat(201));
        for name in [
            "a",
            "a.yml",
            "a.json",
            ".a.yaml",
            ".yaml",
            "..yaml",
            "a/b.yaml",
            "a b.yaml",
            "a\n.yaml",
            "\u{e9}.yaml",
            "a.yaml.tmp",
            "&a.profile",
            &long,
        ] {
            assert_eq!(SpoolEntry::parse(name), None, "{name}");
        }
    }

    #[test]
    fn only_regular_files_with_one_name_are_read() {
        let (_parent, spool) = spool();
        let at = |name: &str| spool.path.join(name);
        fs::write(at("plain.profile"), "text").unwrap();
        assert_eq!(spool.read(&text("plain"), 4).unwrap(), b"text");
        assert!(spool.read(&text("plain"), 3).is_err());
        assert!(spool.read(&text("none"), 4).is_err());
        symlink("/etc/passwd", at("link.profile")).unwrap();
        fs::write(at("first.profile"), "text").unwrap();
        fs::hard_link(at("first.profile"), at("second.profile")).unwrap();
        fs::create_dir(at("directory.profile")).unwrap();
        nix::unistd::mkfifo(&at("fifo.profile"), Mode::S_IRWXU).unwrap();
        fs::write(at("foreign.profile"), "text").unwrap();
        std::os::unix::fs::chown(at("foreign.profile"), Some(1234), None).unwrap();
        for name in ["link", "first", "second", "directory", "fifo", "foreign"] {
            let e = spool.read(&text(name), 1 << 20).unwrap_err();
            assert_eq!(e.kind(), Kind::Policy, "{name}: {e}");
        }
    }

    #[test]
    fn a_spool_is_a_directory_that_root_put_there() {
        let (parent, spool) = spool();
        assert!(
            SpoolDirectory::open(&parent.path().join("none"))
                .unwrap()
                .is_none()
        );
        assert!(
            SpoolDirectory::open(&parent.path().join("none/none"))
                .unwrap()
                .is_none()
        );
        symlink("spool", parent.path().join("link")).unwrap();
        fs::write(parent.path().join("file"), "").unwrap();
        for other in ["link", "file"] {
            assert!(
                SpoolDirectory::open(&parent.path().join(other)).is_err(),
                "{other}"
            );
        }
        // Another user could replace it.
        std::os::unix::fs::chown(&spool.path, Some(1234), None).unwrap();
        assert!(SpoolDirectory::open(&spool.path).unwrap().is_some());
        fs::create_dir(spool.path.join("inner")).unwrap();
        assert!(SpoolDirectory::open(&spool.path.join("inner")).is_err());
    }

    #[test]
    fn a_listing_is_complete_counted_and_bounded() {
        let (_parent, spool) = spool();
        let put = |name: &str| fs::write(spool.path.join(name), "").unwrap();
        for name in [
            "a.yaml",
            "b.profile",
            "b.yaml",
            ".a.yaml.1",
            "c.tmp",
            "\u{1b}[2J",
        ] {
            put(name);
        }
        let listing = spool.list(10).unwrap();
        assert_eq!(listing.files.len(), 3);
        assert_eq!((listing.rejected, listing.complete), (2, false));
        put(COMPLETE);
        assert!(spool.list(10).unwrap().complete);
        for n in 0..=OTHERS {
            put(&format!(".{n}"));
        }
        let e = spool.list(0).unwrap_err().to_string();
        assert!(e.contains("has more than 1000 files"), "{e}");
    }
}

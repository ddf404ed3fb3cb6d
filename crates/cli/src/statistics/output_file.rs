//! A file that a command writes in one step, in a directory that is opened once.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstatat};

use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::fs::replace::{self, Options};
use oci_apparmor::fs::temporary;

/// How the names of files end that node_exporter reads.
const COLLECTED: &str = ".prom";

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC);

/// Where a command writes.
#[derive(Debug)]
pub(crate) struct OutputFile {
    path: PathBuf,
    /// The directory. What its path leads to may change; this does not.
    directory: OwnedFd,
    name: PathBuf,
    mode: u32,
}

impl OutputFile {
    /// A file that only its owner can read.
    ///
    /// # Errors
    /// If its directory cannot be opened.
    pub(crate) fn private(path: &Path) -> Result<Self> {
        let opened = open(parent(path), DIRECTORY, Mode::empty());
        Self::within(path, 0o600, opened)
    }

    /// A file for node_exporter's textfile collector, which everyone can read.
    ///
    /// Only root may write its directory, and no symbolic link may be on the way: a service writes it
    /// again and again, and Debian's `/var/lib/prometheus` belongs to the user `prometheus`, who could
    /// let the path lead elsewhere.
    ///
    /// # Errors
    /// If its name does not end in `.prom`, or its directory cannot be opened or is not trusted.
    pub(crate) fn collected(path: &Path) -> Result<Self> {
        if !path.as_os_str().to_string_lossy().ends_with(COLLECTED) {
            return Err(Error::new(
                Kind::Usage,
                format!("node_exporter does not read {}", path.display()),
            )
            .with_remedy(format!("name a file that ends in {COLLECTED}")));
        }
        let file = Self::within(path, 0o644, open_without_links(parent(path)))?;
        let meta = fs::metadata(file.in_directory(Path::new("")));
        let meta = meta.map_err(|e| Error::io("look at", file.parent(), &e))?;
        if meta.uid() != 0 || meta.mode() & 0o022 != 0 {
            return Err(Error::new(
                Kind::Configuration,
                format!(
                    "users other than root can write {}",
                    file.parent().display()
                ),
            )
            .with_remedy(format!(
                "run: chown root {0} && chmod go-w {0}",
                file.parent().display()
            )));
        }
        Ok(file)
    }

    fn within(path: &Path, mode: u32, opened: nix::Result<OwnedFd>) -> Result<Self> {
        let name = path.file_name().ok_or_else(|| {
            Error::new(Kind::Usage, format!("{} names no file", path.display()))
                .with_remedy("name a file to write")
        })?;
        let parent = parent(path);
        let directory = opened.map_err(|errno| {
            let error = match errno {
                // The directory, or one above it.
                Errno::ELOOP => Error::new(
                    Kind::Configuration,
                    format!("there is a symbolic link on the way to {}", parent.display()),
                ),
                errno => Error::io("open", parent, &errno.into()),
            };
            error.or_remedy(format!("name a file in a directory that exists, without a symbolic link on its path, instead of {}", path.display()))
        })?;
        Ok(Self {
            path: path.to_owned(),
            directory,
            name: PathBuf::from(name),
            mode,
        })
    }

    /// The file, as it was named.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn parent(&self) -> &Path {
        parent(&self.path)
    }

    /// A path of the directory that is open, whatever its own path leads to by now.
    fn in_directory(&self, name: &Path) -> PathBuf {
        let descriptor = self.directory.as_raw_fd().to_string();
        Path::new("/proc/self/fd").join(descriptor).join(name)
    }

    /// Replaces the file: readers find the old text or the new one.
    ///
    /// # Errors
    /// If it cannot be written; the old file is then still there.
    pub(crate) fn write(&self, text: &str) -> Result<()> {
        // node_exporter reads only names that end in `.prom`.
        let temporary = format!(".{}.{}", self.name.display(), temporary::mark());
        let target = self.in_directory(&self.name);
        let temporary = self.in_directory(Path::new(&temporary));
        let options = Options::with_mode(self.mode);
        replace::replace(&target, &temporary, text.as_bytes(), options)
            .map_err(|e| Error::io("write", &self.path, &e))
    }
}

/// Opens a directory. `ELOOP` if it, or one above it, is a symbolic link.
///
/// Not by openat2(2): a service with `RestrictSUIDSGID=yes` gets `ENOSYS` from it, because systemd's
/// filter cannot see its flags (`seccomp_restrict_suid_sgid`).
fn open_without_links(path: &Path) -> nix::Result<OwnedFd> {
    let start = if path.is_absolute() { "/" } else { "." };
    let mut directory = open(start, DIRECTORY, Mode::empty())?;
    for part in path.components() {
        let name = match part {
            Component::Normal(name) => Path::new(name),
            Component::ParentDir => Path::new(".."),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
        };
        // Searching is enough on the way, and the last one is only written to.
        let flags = DIRECTORY | OFlag::O_PATH | OFlag::O_NOFOLLOW;
        directory = match openat(&directory, name, flags, Mode::empty()) {
            // What a link is for both flags.
            Err(Errno::ENOTDIR) if is_link(&directory, name) => return Err(Errno::ELOOP),
            opened => opened?,
        };
    }
    Ok(directory)
}

fn is_link(directory: &OwnedFd, name: &Path) -> bool {
    let stat = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    stat.is_ok_and(|s| SFlag::from_bits_truncate(s.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK)
}

fn parent(path: &Path) -> &Path {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_private_file_is_replaced_in_one_step() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.html");
        fs::write(&path, "old").unwrap();
        let file = OutputFile::private(&path).unwrap();
        // The directory is the one that was opened.
        let moved = dir.path().with_extension("moved");
        fs::rename(dir.path(), &moved).unwrap();
        file.write("new").unwrap();
        let path = moved.join("report.html");
        assert_eq!(
            (fs::read_to_string(&path).unwrap().as_str(), mode(&path)),
            ("new", 0o600)
        );
        assert_eq!(fs::read_dir(&moved).unwrap().count(), 1);
        fs::rename(&moved, dir.path()).unwrap();
        for wrong in ["/", "none/report.html", "/etc/passwd/report.html"] {
            OutputFile::private(Path::new(wrong)).unwrap_err();
        }
    }

    #[test]
    fn a_collected_file_is_only_written_where_root_alone_writes() {
        let dir = tempfile::Builder::new().tempdir_in("/run").unwrap();
        let directory = dir.path().join("textfile");
        fs::create_dir(&directory).unwrap();
        let path = directory.join("a.prom");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        OutputFile::collected(&path).unwrap().write("1\n").unwrap();
        assert_eq!(mode(&path), 0o644);
        // The parent may belong to another user, as /var/lib/prometheus does.
        std::os::unix::fs::chown(dir.path(), Some(1234), None).unwrap();
        OutputFile::collected(&path).unwrap().write("2\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "2\n");
        let refused = |path: &Path| OutputFile::collected(path).unwrap_err().to_string();
        let name = refused(&directory.join("a.txt"));
        assert!(name.contains("ends in .prom"), "{name}");
        let link = dir.path().join("link");
        symlink(&directory, &link).unwrap();
        fs::create_dir(directory.join("inner")).unwrap();
        for linked in ["a.prom", "inner/a.prom", "../link/a.prom"] {
            let linked = refused(&link.join(linked));
            assert!(linked.contains("symbolic link"), "{linked}");
        }
        let missing = refused(&directory.join("none/a.prom"));
        assert!(missing.contains("cannot open"), "{missing}");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o775)).unwrap();
        let shared = refused(&path);
        assert!(shared.contains("chmod go-w"), "{shared}");
    }
}

//! The files of this node, or of the image of a node. Each file is checked before it is read, and
//! replaced by a rename.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::engine::edit::TextFile;
use oci_apparmor::error::{Error, Kind, Result, reason};
use oci_apparmor::fs::replace::{self, Options};
use oci_apparmor::fs::temporary;
use oci_apparmor::fs::tree::Tree;
use oci_apparmor::fs::trusted::{Distrust, TrustError};

/// The largest configuration that is read, in bytes. Large ones have about 20 KiB.
const MAX: u64 = 1 << 20;

/// The root directory of a node: `/`, or the directory of an image. All paths that its functions take
/// and return are those that the engine sees, without this directory.
#[derive(Debug)]
pub(crate) struct NodeRoot {
    directory: PathBuf,
    /// Whether this process came from a container.
    entered: bool,
}

impl NodeRoot {
    /// The root directory `root`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if it is no directory.
    pub(crate) fn new(root: &Path) -> Result<Self> {
        let failed = |why: &str| {
            Error::new(
                Kind::NotFound,
                format!("cannot use {}: {why}", root.display()),
            )
            .with_remedy("give --root the directory that will be / of the node")
        };
        let real = fs::canonicalize(root).map_err(|e| failed(&reason(&e)))?;
        if !real.is_dir() {
            return Err(failed("it is not a directory"));
        }
        Ok(Self {
            directory: real,
            entered: false,
        })
    }

    /// The root directory of the running node that this container has mounted at `root`, with its
    /// `/proc`. From now on it is the root directory of this process (chroot(2)): programs of the node
    /// can be run, and its processes seen, without its process namespace.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if it is no such directory.
    pub(crate) fn enter(root: &Path) -> Result<Self> {
        let there = Self::new(root)?;
        if fs::read_link(there.directory.join("proc/self")).is_err() {
            return Err(Error::new(
                Kind::NotFound,
                format!("{} has no /proc of a running node", root.display()),
            )
            .with_remedy("mount / of the node there with all that is mounted below it (rbind)"));
        }
        let failed = |e: io::Error| {
            Error::io("enter", &there.directory, &e)
                .with_remedy("give the container the capability SYS_CHROOT")
        };
        nix::unistd::chroot(&there.directory).map_err(|e| failed(e.into()))?;
        std::env::set_current_dir("/").map_err(failed)?;
        Ok(Self {
            directory: PathBuf::from("/"),
            entered: true,
        })
    }

    /// A namespace of the node (`mnt`, `pid`): that of process 1, if this process came from a
    /// container, else its own.
    pub(crate) fn namespace(&self, kind: &str) -> Option<PathBuf> {
        let process = if self.entered { "1" } else { "self" };
        fs::read_link(Path::new("/proc").join(process).join("ns").join(kind)).ok()
    }

    /// Whether it is the root directory of this machine.
    #[must_use]
    pub(crate) fn is_node(&self) -> bool {
        self.directory == Path::new("/")
    }

    /// The directory, as this machine sees it.
    #[must_use]
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path on this machine, for messages.
    #[must_use]
    pub(crate) fn on_host(&self, path: &Path) -> PathBuf {
        self.directory.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn base(&self) -> Tree<'_> {
        Tree::new(&self.directory)
    }

    /// The base for a file. The group of MicroK8s may write its configuration (`configure` of the
    /// snap). It may also write to the socket of its containerd, which gives its members the rights
    /// of root anyway.
    fn base_of(&self, path: &Path) -> Tree<'_> {
        match path.starts_with("/var/snap/microk8s") {
            true => self
                .base()
                .with_group(self.group(&["microk8s", "snap_microk8s"])),
            false => self.base(),
        }
    }

    /// The number of the first of these groups that exists.
    fn group(&self, names: &[&str]) -> Option<u32> {
        let groups = self.base().read(Path::new("/etc/group"), MAX).ok()?;
        let groups = String::from_utf8_lossy(&groups).into_owned();
        groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| names.contains(name));
            name.and(fields.nth(1)?.parse().ok())
        })
    }

    fn refused(&self, path: &Path, refusal: &TrustError) -> Error {
        refusal
            .about(&self.on_host(path), Kind::Configuration)
            .or_remedy(
                "make it and the directories above it writable by root only (chown root:, chmod \
                 go-w); nothing was changed",
            )
    }

    /// Reads a file; `None` if it does not exist.
    ///
    /// # Errors
    /// [`Kind::Configuration`] if another user can write it, or if it is no UTF-8.
    pub(crate) fn read(&self, path: &Path) -> Result<Option<TextFile>> {
        let bytes = match self.base_of(path).read(path, MAX) {
            Ok(bytes) => bytes,
            Err(TrustError::Missing) => return Ok(None),
            Err(refusal) => return Err(self.refused(path, &refusal)),
        };
        let text = String::from_utf8(bytes).map_err(|_| {
            Error::new(
                Kind::Configuration,
                format!("{} is not UTF-8", self.on_host(path).display()),
            )
            .with_remedy("convert it to UTF-8; nothing was changed")
        })?;
        let path = path.to_owned();
        Ok(Some(TextFile { path, text }))
    }

    /// The files in a directory, sorted by name; none if the directory does not exist.
    #[must_use]
    pub(crate) fn list(&self, directory: &Path) -> Vec<PathBuf> {
        let Ok(real) = self.base_of(directory).resolve(directory) else {
            return Vec::new();
        };
        let entries = fs::read_dir(real).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries
            .filter(|entry| !entry.path().is_dir())
            .map(|entry| directory.join(entry.file_name()))
            .collect();
        files.sort();
        files
    }

    /// Whether a path exists.
    #[must_use]
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.base_of(path).resolve(path).is_ok()
    }

    /// The path of a program on this machine, without links. Only its owner can change it.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub(crate) fn program(&self, path: &Path) -> std::result::Result<PathBuf, TrustError> {
        let real = self.base().resolve(path)?;
        let meta = fs::metadata(&real)?;
        if !meta.is_file() || meta.mode() & 0o111 == 0 {
            return Err(TrustError::Untrusted(Distrust::new(
                "it is not an executable file",
            )));
        }
        self.base().owns("it", &meta)?;
        Ok(real)
    }

    /// The path of an entry on this machine, which may be a link itself; `None` if its directory does
    /// not exist.
    ///
    /// # Errors
    /// [`Kind::Configuration`] if another user can change where the path leads.
    pub(crate) fn entry(&self, path: &Path) -> Result<Option<PathBuf>> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(self.refused(path, &TrustError::Missing));
        };
        match self.base_of(parent).resolve(parent) {
            Ok(real) => Ok(Some(real.join(name))),
            Err(TrustError::Missing) => Ok(None),
            Err(refusal) => Err(self.refused(path, &refusal)),
        }
    }

    /// The path of a directory on this machine. It is created if it is missing.
    ///
    /// # Errors
    /// If it cannot be created.
    pub(crate) fn directory_at(&self, path: &Path) -> Result<PathBuf> {
        self.create_directory(path, &mut Vec::new())
    }

    /// Replaces the text of a file, which must still be `old`, or creates the file with `mode`.
    /// Readers see either the old or the new text, also if this process is killed. The owner, the
    /// mode, and a link that leads to the file stay. Returns the directories that were created.
    ///
    /// # Errors
    /// If it cannot be written; the old text then stays.
    pub(crate) fn write(
        &self,
        path: &Path,
        old: Option<&str>,
        text: &str,
        mode: u32,
    ) -> Result<Vec<PathBuf>> {
        let now = self.read(path)?.map(|file| file.text);
        if now.as_deref() != old {
            return Err(Error::new(
                Kind::Configuration,
                format!(
                    "{} was changed by another program in the meantime",
                    self.on_host(path).display()
                ),
            )
            .with_remedy("run the command again"));
        }
        let mut made = Vec::new();
        let real = match self.base_of(path).resolve(path) {
            Ok(real) => real,
            Err(TrustError::Missing) => {
                let (parent, name) = (path.parent(), path.file_name());
                let (Some(parent), Some(name)) = (parent, name) else {
                    return Err(Error::new(
                        Kind::Usage,
                        format!("{} is not a file", path.display()),
                    ));
                };
                let real = self.create_directory(parent, &mut made)?.join(name);
                if real.symlink_metadata().is_ok() {
                    return Err(self.refused(
                        path,
                        &TrustError::Untrusted(Distrust::new("it is a link to a missing file")),
                    ));
                }
                real
            }
            Err(refusal) => return Err(self.refused(path, &refusal)),
        };
        replace(&real, text, mode)
            .map_err(|e| Error::io("write", &real, &e).with_remedy("nothing was changed"))?;
        Ok(made)
    }

    /// The path of a directory on this machine, without links. It is created if it is missing.
    fn create_directory(&self, path: &Path, made: &mut Vec<PathBuf>) -> Result<PathBuf> {
        match self.base_of(path).resolve(path) {
            Ok(real) => Ok(real),
            Err(TrustError::Missing) => {
                let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                    return Err(self.refused(path, &TrustError::Missing));
                };
                let real = self.create_directory(parent, made)?.join(name);
                let failed = |e: io::Error| {
                    Error::io("make the directory", &real, &e)
                        .with_remedy("run the command as root; nothing was changed")
                };
                fs::DirBuilder::new()
                    .mode(0o755)
                    .create(&real)
                    .map_err(failed)?;
                made.push(path.to_owned());
                Ok(real)
            }
            Err(refusal) => Err(self.refused(path, &refusal)),
        }
    }

    /// Removes a file, and then those of `directories` that are empty.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub(crate) fn remove(&self, path: &Path, directories: &[PathBuf]) -> Result<()> {
        match self.base_of(path).resolve(path) {
            Ok(real) => fs::remove_file(&real).map_err(|e| Error::io("remove", &real, &e))?,
            Err(TrustError::Missing) => {}
            Err(refusal) => return Err(self.refused(path, &refusal)),
        }
        for directory in directories.iter().rev() {
            if let Ok(real) = self.base().resolve(directory) {
                // It stays if another program has put a file there.
                let _ = fs::remove_dir(real);
            }
        }
        Ok(())
    }
}

/// Writes a new file beside `real` and renames it.
fn replace(real: &Path, text: &str, mode: u32) -> io::Result<()> {
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    let directory = real.parent().unwrap_or(Path::new("/"));
    // CRI-O reads each file of its directory, whatever its name is (`UpdateFromPath` in
    // pkg/config/config.go), also what is half written.
    let beside = match directory.parent() {
        Some(above) if directory.ends_with("crio.conf.d") => above,
        _ => directory,
    };
    let temporary = beside.join(format!(".{name}.{}", temporary::mark()));
    let options = match fs::metadata(real) {
        Ok(old) => Options::like(&old),
        Err(_) => Options::with_mode(mode),
    };
    replace::replace(real, &temporary, text.as_bytes(), options.durable())
}

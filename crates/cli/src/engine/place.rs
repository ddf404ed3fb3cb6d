//! Where engines are configured: this node, or the tree of an image. The only part that touches
//! files, each of which is checked before it is believed, and replaced whole.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::engine::Text;
use oci_apparmor::error::{Error, Kind, Result, reason};
use oci_apparmor::fs::replace::{self, Options};
use oci_apparmor::fs::temporary;
use oci_apparmor::fs::tree::Tree;
use oci_apparmor::fs::trusted::TrustError;

/// The largest configuration that is read; large ones have some 20 KiB.
const MAX: u64 = 1 << 20;

/// This node, or the tree of an image. Paths are those that the engine sees.
#[derive(Debug)]
pub struct Place {
    root: PathBuf,
}

impl Place {
    /// The tree at `root`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where there is no directory.
    pub fn new(root: &Path) -> Result<Self> {
        let failed = |why: &str| {
            Error::new(
                Kind::NotFound,
                format!("cannot use {}: {why}", root.display()),
            )
            .with_remedy("name the directory that will be / of the node")
        };
        let real = fs::canonicalize(root).map_err(|e| failed(&reason(&e)))?;
        if !real.is_dir() {
            return Err(failed("it is not a directory"));
        }
        Ok(Self { root: real })
    }

    /// Whether it is this node itself.
    #[must_use]
    pub fn is_node(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The directory that it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a path is on this machine, for people.
    #[must_use]
    pub fn here(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn base(&self) -> Tree<'_> {
        Tree::new(&self.root)
    }

    /// The same for one file: MicroK8s lets its group write its configuration (`configure` of the
    /// snap), and the socket of its containerd, which makes the group's members root anyway.
    fn base_of(&self, path: &Path) -> Tree<'_> {
        match path.starts_with("/var/snap/microk8s") {
            true => self
                .base()
                .with_group(self.group(&["microk8s", "snap_microk8s"])),
            false => self.base(),
        }
    }

    /// The number of the first of these groups that there is.
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
            .about(&self.here(path), Kind::Configuration)
            .with_remedy("make it and the directories above it root's alone (chown root:, chmod go-w); nothing was changed")
    }

    /// A file, if it is there.
    ///
    /// # Errors
    /// [`Kind::Configuration`]: somebody else can write it, or it is no text.
    pub fn read(&self, path: &Path) -> Result<Option<Text>> {
        let bytes = match self.base_of(path).read(path, MAX) {
            Ok(bytes) => bytes,
            Err(TrustError::Missing) => return Ok(None),
            Err(refusal) => return Err(self.refused(path, &refusal)),
        };
        let text = String::from_utf8(bytes).map_err(|_| {
            Error::new(
                Kind::Configuration,
                format!("{} is not UTF-8", self.here(path).display()),
            )
            .with_remedy("correct it; nothing was changed")
        })?;
        let path = path.to_owned();
        Ok(Some(Text { path, text }))
    }

    /// The files in a directory, by name; none where there is none.
    #[must_use]
    pub fn list(&self, directory: &Path) -> Vec<PathBuf> {
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

    /// Whether there is anything at a path.
    #[must_use]
    pub fn has(&self, path: &Path) -> bool {
        self.base_of(path).resolve(path).is_ok()
    }

    /// The real path of a program in this tree that only its owner can change.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub fn program(&self, path: &Path) -> std::result::Result<PathBuf, TrustError> {
        let real = self.base().resolve(path)?;
        let meta = fs::metadata(&real)?;
        if !meta.is_file() || meta.mode() & 0o111 == 0 {
            return Err(TrustError::Untrusted(
                "it is not an executable file".to_owned(),
            ));
        }
        self.base().owns("it", &meta)?;
        Ok(real)
    }

    /// Puts `text` in the place of a file, which must still be `old`, or makes it with `mode`:
    /// whoever reads it, and whenever we are killed, finds the old or the new one. Owner and mode
    /// stay, and so does a link that leads there. Returns the directories that were made.
    ///
    /// # Errors
    /// Where it cannot be written; the old text is then still there.
    pub fn write(
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
                format!("{} has changed meanwhile", self.here(path).display()),
            )
            .with_remedy("try again"));
        }
        let mut made = Vec::new();
        let real = match self.base_of(path).resolve(path) {
            Ok(real) => real,
            Err(TrustError::Missing) => {
                let (parent, name) = (path.parent(), path.file_name());
                let (Some(parent), Some(name)) = (parent, name) else {
                    return Err(Error::new(
                        Kind::Usage,
                        format!("{} is no file", path.display()),
                    ));
                };
                let real = self.directory(parent, &mut made)?.join(name);
                if real.symlink_metadata().is_ok() {
                    return Err(self.refused(
                        path,
                        &TrustError::Untrusted("it is a link that leads nowhere".to_owned()),
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

    /// The real path of a directory, made where it is missing.
    fn directory(&self, path: &Path, made: &mut Vec<PathBuf>) -> Result<PathBuf> {
        match self.base_of(path).resolve(path) {
            Ok(real) => Ok(real),
            Err(TrustError::Missing) => {
                let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                    return Err(self.refused(path, &TrustError::Missing));
                };
                let real = self.directory(parent, made)?.join(name);
                let failed = |e: io::Error| {
                    Error::io("make the directory", &real, &e)
                        .with_remedy("run it as the owner of what is above it; nothing was changed")
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

    /// Removes a file, and these directories where they are empty then.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub fn remove(&self, path: &Path, directories: &[PathBuf]) -> Result<()> {
        match self.base_of(path).resolve(path) {
            Ok(real) => fs::remove_file(&real).map_err(|e| Error::io("remove", &real, &e))?,
            Err(TrustError::Missing) => {}
            Err(refusal) => return Err(self.refused(path, &refusal)),
        }
        for directory in directories.iter().rev() {
            if let Ok(real) = self.base().resolve(directory) {
                // Others may have put something there.
                let _ = fs::remove_dir(real);
            }
        }
        Ok(())
    }
}

/// Replaces a file; owner and mode of the old one are kept.
fn replace(real: &Path, text: &str, mode: u32) -> io::Result<()> {
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    let temporary = real.with_file_name(format!(".{name}.{}", temporary::mark()));
    let options = match fs::metadata(real) {
        Ok(old) => Options::like(&old),
        Err(_) => Options::with_mode(mode),
    };
    replace::replace(real, &temporary, text.as_bytes(), options.durable())
}

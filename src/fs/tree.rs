//! Resolving a path so that only root can change where it leads.
//!
//! Every directory on the path, every directory that a symbolic link on it leads through, and the
//! file itself must belong to root and be writable by root alone.
//!
//! A directory that its group can write is refused: a member could replace root's file. That
//! includes `/usr/local` with Debian's group `staff`, even if the group has no members now. The
//! exception is a directory on the path with the sticky bit, such as `/nix/store` (root:nixbld,
//! mode 1775): there only root can rename or remove root's files (`rename(2)`, `unlink(2)`:
//! EPERM). Files that members add belong to them and are refused. `/tmp`, which everyone can
//! write, is not an exception: its files are removed after some time, and then anyone can create
//! a file of that name.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use crate::fs::bounded;
use crate::fs::trust::{TrustError, Trusted, owned_by_root, written_only_by_root};
use crate::user_namespace;

/// How many symbolic links are followed for one path: the kernel's own limit (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// A directory tree whose root stands for `/`: this node, or the tree of an image. Absolute
/// symbolic links stay inside the tree.
#[derive(Debug, Clone, Copy)]
pub struct Tree<'p> {
    root: &'p Path,
    /// Whether files may also belong to this user: image trees are often built without root.
    allow_own: bool,
    /// A group whose members may write root's files, because they are as powerful as root anyway.
    group: Option<u32>,
}

/// Directories that have passed the checks, so that each is checked only once.
#[derive(Debug, Default)]
pub struct CheckedDirectories(Vec<PathBuf>);

impl CheckedDirectories {
    /// There are few, so comparing bytes is faster than a search by components.
    fn contains(&self, directory: &Path) -> bool {
        let is_it = |checked: &PathBuf| checked.as_os_str() == directory.as_os_str();
        self.0.iter().rev().any(is_it)
    }
}

impl<'p> Tree<'p> {
    /// This node.
    pub(super) fn node() -> Tree<'static> {
        Tree::new(Path::new("/"))
    }

    /// The tree at `root`, which must be a path without symbolic links.
    #[must_use]
    pub fn new(root: &'p Path) -> Self {
        Self {
            root,
            allow_own: root != Path::new("/"),
            group: None,
        }
    }

    /// The same tree, where members of `group` may write root's files.
    #[must_use]
    pub fn with_group(self, group: Option<u32>) -> Self {
        Self { group, ..self }
    }

    /// Resolves `path` to a path without symbolic links.
    ///
    /// # Errors
    /// [`TrustError`], if another user than the owner of the tree can change where it leads.
    pub fn resolve(&self, path: &Path) -> Trusted<PathBuf> {
        self.resolve_with(path, &mut CheckedDirectories::default())
    }

    /// Reads a trusted regular file of at most `max` bytes.
    ///
    /// # Errors
    /// [`TrustError`]; a larger file is untrusted.
    pub fn read(&self, path: &Path, max: u64) -> Trusted<Vec<u8>> {
        match self.open(&self.resolve(path)?, max)? {
            (Some(bytes), _) => Ok(bytes),
            (None, _) => Err(TrustError::untrusted("it is not a regular file")),
        }
    }

    /// Checks that only the owner of the tree owns and can write a file.
    ///
    /// # Errors
    /// [`TrustError::Untrusted`]; `what` names the file in it.
    pub fn owns(&self, what: &str, meta: &Metadata) -> Trusted<()> {
        if self.is_own(meta) {
            return Ok(());
        }
        if Some(meta.gid()) == self.group && meta.uid() == 0 && meta.mode() & 0o002 == 0 {
            return Ok(());
        }
        written_only_by_root(what, meta)
    }

    /// Opens what `resolved` leads to and checks it: the bytes of a regular file, or `None` for a
    /// directory. The checks use the open descriptor, so what was checked is what is read.
    pub(super) fn open(&self, resolved: &Path, max: u64) -> Trusted<(Option<Vec<u8>>, Metadata)> {
        let file = OpenOptions::new()
            .read(true)
            // O_NONBLOCK: opening a FIFO must not block.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(resolved)?;
        let meta = file.metadata()?;
        self.owns("it", &meta)?;
        if meta.is_dir() {
            return Ok((None, meta));
        }
        if !meta.is_file() {
            return Err(TrustError::untrusted("it is not a regular file"));
        }
        let bytes = bounded::read_sized(&file, meta.len(), max)?
            .ok_or_else(|| TrustError::untrusted(&format!("it is larger than {max} bytes")))?;
        Ok((Some(bytes), meta))
    }

    /// Like [`Tree::open`], for a path that is not resolved yet. Usually its last step is no link, and
    /// then it is not looked at before it is opened.
    pub(super) fn open_with(
        &self,
        path: &Path,
        max: u64,
        checked: &mut CheckedDirectories,
    ) -> Trusted<(Option<Vec<u8>>, Metadata)> {
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            let at = self.resolve_with(parent, checked)?.join(name);
            match self.open(&at, max) {
                // A symbolic link, or something below a file.
                Err(TrustError::Io(e))
                    if matches!(e.raw_os_error(), Some(libc::ELOOP | libc::ENOTDIR)) => {}
                opened => return opened,
            }
        }
        self.open(&self.resolve_with(path, checked)?, max)
    }

    /// Like [`Tree::resolve`], without checking a directory in `checked` again.
    pub(super) fn resolve_with(
        &self,
        path: &Path,
        checked: &mut CheckedDirectories,
    ) -> Trusted<PathBuf> {
        Ok(self.walk(path, checked)?.0)
    }

    /// Like [`Tree::resolve_with`], with what lstat(2) said of the end of the path, unless that is a
    /// directory in `checked`.
    pub(super) fn walk(
        &self,
        path: &Path,
        checked: &mut CheckedDirectories,
    ) -> Trusted<(PathBuf, Option<Metadata>)> {
        if !path.is_absolute() {
            return Err(TrustError::untrusted("it is not an absolute path"));
        }
        let mut at = self.root.to_owned();
        if !checked.contains(&at) {
            self.check_directory(&at, &fs::symlink_metadata(&at)?)?;
            checked.0.push(at.clone());
        }
        let mut pending = steps(path);
        let mut links: usize = 0;
        let mut end = None;
        while let Some(step) = pending.pop() {
            end = None;
            if step == OsStr::new("..") {
                if at != self.root {
                    at.pop();
                }
                continue;
            }
            let next = at.join(&step);
            if checked.contains(&next) {
                at = next;
                continue;
            }
            let meta = fs::symlink_metadata(&next)?;
            if meta.is_symlink() {
                links = links.saturating_add(1);
                if links > MAX_LINKS {
                    return Err(TrustError::untrusted("too many symbolic links"));
                }
                self.check_link(&at, &next, &meta)?;
                let target = fs::read_link(&next)?;
                if target.is_absolute() {
                    at = self.root.to_owned();
                }
                pending.extend(steps(&target));
            } else {
                if meta.is_dir() {
                    self.check_directory(&next, &meta)?;
                    checked.0.push(next.clone());
                } else if !pending.is_empty() {
                    return Err(TrustError::Missing);
                }
                at = next;
                end = Some(meta);
            }
        }
        Ok((at, end))
    }

    fn is_own(&self, meta: &Metadata) -> bool {
        self.allow_own
            && !user_namespace::is_root()
            && meta.uid() == user_namespace::effective_uid()
    }

    /// Checks that only the owner of the tree can replace that owner's files in a directory.
    fn check_directory(&self, directory: &Path, meta: &Metadata) -> Trusted<()> {
        match is_shared(meta) && !self.is_own(meta) {
            true => owned_by_root(&directory.display().to_string(), meta),
            false => self.owns(&directory.display().to_string(), meta),
        }
    }

    /// Checks a symbolic link. Its target cannot be changed, but in a shared directory members of
    /// the group can add links.
    fn check_link(&self, directory: &Path, link: &Path, meta: &Metadata) -> Trusted<()> {
        if is_shared(&fs::symlink_metadata(directory)?) && !self.is_own(meta) {
            owned_by_root(&link.display().to_string(), meta)?;
        }
        Ok(())
    }
}

/// The components of `path`, last first, without `/` and `.`.
fn steps(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            _ => None,
        })
        .collect()
}

/// Whether a directory is writable by its group and has the sticky bit.
fn is_shared(meta: &Metadata) -> bool {
    meta.is_dir() && meta.mode() & 0o1022 == 0o1020
}

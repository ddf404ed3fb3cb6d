//! Checked opens: files that only the administrator can have written.
//!
//! Trust is a property of the whole way to a file: every directory on it, every directory that a
//! symbolic link on it leads through, and the file itself must belong to root and be writable by
//! nobody else. What was checked is what is read: the checks run on the opened descriptor.
//!
//! A directory that its group can write is none: its members could put another file in the place
//! of root's. That holds for Debian's group `staff` and `/usr/local`, too, whether or not that
//! group has members now. The exception is a directory on the way with the sticky bit, as
//! `/nix/store` is (root:nixbld, mode 1775): there only root can rename or remove what is root's
//! (`rename(2)`, `unlink(2)`: EPERM), so what root's own paths lead to stays what it is. Members can add
//! entries, which belong to them and are refused. `/tmp`, which anybody can write, is no exception:
//! what is kept there goes away after a while, and then its name is anybody's.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Kind, Result, reason};

/// Symbolic links followed on the way to one file, as many as the kernel's own limit.
const MAX_LINKS: usize = 40;

/// Why a file is not used.
#[derive(Debug)]
pub enum Refusal {
    /// Nothing is there.
    Missing,
    /// Something is there that somebody other than root could have put there.
    Untrusted(String),
    /// It cannot be read.
    Io(io::Error),
}

impl Refusal {
    /// The refusal as an error of `kind` about `path`.
    #[must_use]
    pub fn about(&self, path: &Path, kind: Kind) -> Error {
        let path = path.display();
        match self {
            Self::Missing => Error::new(kind, format!("{path} does not exist")),
            Self::Untrusted(why) => Error::new(kind, format!("{path} is not trusted: {why}")),
            Self::Io(e) => Error::new(kind, format!("cannot read {path}: {}", reason(e))),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Io(e),
        }
    }
}

/// Reads a trusted regular file of at most `max` bytes.
///
/// # Errors
/// See [`Refusal`]; a file that is larger is untrusted.
pub fn read(path: &Path, max: u64) -> std::result::Result<Vec<u8>, Refusal> {
    Ok(read_with(path, max)?.0)
}

/// As [`read`], with what stat(2) said about the file before the first byte was read.
///
/// # Errors
/// As for [`read`].
pub fn read_with(path: &Path, max: u64) -> std::result::Result<(Vec<u8>, Metadata), Refusal> {
    match look(path, max, &mut Ways::default())? {
        (Some(bytes), meta) => Ok((bytes, meta)),
        (None, _) => Err(Refusal::Untrusted("it is not a regular file".to_owned())),
    }
}

/// Directories that were found to be root's alone, so that many files in them cost one look.
#[derive(Debug, Default)]
pub struct Ways(BTreeSet<PathBuf>);

/// What is at `path`: the bytes of a file, or none for a directory.
///
/// # Errors
/// As for [`read`].
pub fn look(
    path: &Path,
    max: u64,
    ways: &mut Ways,
) -> std::result::Result<(Option<Vec<u8>>, Metadata), Refusal> {
    look_resolved(&resolve_by(&Base::node(), path, ways)?, &Base::node(), max)
}

fn look_resolved(
    resolved: &Path,
    base: &Base<'_>,
    max: u64,
) -> std::result::Result<(Option<Vec<u8>>, Metadata), Refusal> {
    let file = OpenOptions::new()
        .read(true)
        // O_NONBLOCK: a FIFO must not hang us before fstat tells what it is.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(resolved)?;
    let meta = file.metadata()?;
    base.owns("it", &meta)?;
    if meta.is_dir() {
        return Ok((None, meta));
    }
    if !meta.is_file() {
        return Err(Refusal::Untrusted("it is not a regular file".to_owned()));
    }
    let bytes = bounded_by(&file, meta.len(), max)?
        .ok_or_else(|| Refusal::Untrusted(format!("it is larger than {max} bytes")))?;
    Ok((Some(bytes), meta))
}

/// At most `max` bytes of `file`; `None` where there are more.
///
/// # Errors
/// Those of read(2).
pub fn bounded(file: &File, max: u64) -> io::Result<Option<Vec<u8>>> {
    bounded_by(file, file.metadata().map_or(0, |meta| meta.len()), max)
}

/// The same, for a file that has `length` bytes, as far as stat(2) tells: the kernel's own file
/// systems say 0.
fn bounded_by(mut file: &File, length: u64, max: u64) -> io::Result<Option<Vec<u8>>> {
    let room = length.clamp(4096, max.max(4096)).saturating_add(1);
    let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or_default());
    if length > 0 && length <= max {
        file.take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == length {
            // Nothing is gained by asking whether it has grown meanwhile.
            return Ok(Some(bytes));
        }
    }
    let rest = max.saturating_add(1).saturating_sub(bytes.len() as u64);
    file.by_ref().take(rest).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max).then_some(bytes))
}

/// All of an open file of our own, if it has at most `max` bytes; `None` where it is none.
#[must_use]
pub fn own_file(file: &File, max: u64) -> Option<Vec<u8>> {
    let meta = file.metadata().ok()?;
    let ours = meta.uid() == nix::unistd::geteuid().as_raw() && meta.mode() & 0o022 == 0;
    if !meta.is_file() || !ours {
        return None;
    }
    bounded_by(file, meta.len(), max).ok()?
}

/// The path of a program that only root can have put there.
///
/// # Errors
/// See [`Refusal`].
pub fn program(path: &Path) -> std::result::Result<PathBuf, Refusal> {
    let resolved = resolve(path)?;
    let meta = fs::metadata(&resolved)?;
    if !meta.is_file() || meta.mode() & 0o111 == 0 {
        return Err(Refusal::Untrusted(
            "it is not an executable file".to_owned(),
        ));
    }
    owned_by_root("it", &meta)?;
    Ok(resolved)
}

/// Whether only root can change what `path`, a directory, holds.
///
/// # Errors
/// See [`Refusal`].
pub fn directory(path: &Path) -> std::result::Result<(), Refusal> {
    let real = resolve(path)?;
    let meta = fs::metadata(&real)?;
    if !meta.is_dir() {
        return Err(Refusal::Untrusted("it is not a directory".to_owned()));
    }
    // Here it matters which names there are.
    owned_by_root(&real.display().to_string(), &meta)
}

/// A directory of our own below `path`, made with `mode` where it is missing.
///
/// # Errors
/// Where it cannot be made, or is somebody else's.
pub fn own_directory(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    // Usually it is there, and one look tells.
    if own_directory_as_it_is(path).is_ok() {
        return Ok(());
    }
    if let Err(e) = fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
    {
        return Err(Error::io("make the directory", path, &e));
    }
    own_directory_as_it_is(path)
}

/// Checks a directory of our own, and makes nothing.
///
/// # Errors
/// Where it is missing, or somebody else can write it.
pub fn own_directory_as_it_is(path: &Path) -> Result<()> {
    let meta = fs::symlink_metadata(path).map_err(|e| Error::io("look at", path, &e))?;
    let me = nix::unistd::geteuid().as_raw();
    if meta.is_dir() && meta.uid() == me && meta.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(Error::new(
        Kind::Internal,
        format!(
            "{} is not a directory that only uid {me} can write",
            path.display()
        ),
    )
    .with_remedy("remove it; it is made anew"))
}

/// A directory that stands for the root of a node: `/`, or the tree of an image that is being
/// made, in which links stay.
#[derive(Debug, Clone, Copy)]
pub struct Base<'p> {
    root: &'p Path,
    /// Whether whoever runs this may own it: an image is made by anybody.
    own: bool,
    /// A group whose members may write what is root's, since they are as good as root anyway.
    group: Option<u32>,
}

impl<'p> Base<'p> {
    /// This node.
    fn node() -> Base<'static> {
        Base::new(Path::new("/"))
    }

    /// The tree at `root`, which must be a real path.
    #[must_use]
    pub fn new(root: &'p Path) -> Self {
        let own = root != Path::new("/");
        Self {
            root,
            own,
            group: None,
        }
    }

    /// The same, with a group whose members may write there.
    #[must_use]
    pub fn with_group(self, group: Option<u32>) -> Self {
        Self { group, ..self }
    }

    /// The real path of `path` in this tree, every step of which only its owner can change.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn resolve(&self, path: &Path) -> std::result::Result<PathBuf, Refusal> {
        resolve_by(self, path, &mut Ways::default())
    }

    /// As the function [`read`], in this tree.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn read(&self, path: &Path, max: u64) -> std::result::Result<Vec<u8>, Refusal> {
        match look_resolved(&self.resolve(path)?, self, max)? {
            (Some(bytes), _) => Ok(bytes),
            (None, _) => Err(Refusal::Untrusted("it is not a regular file".to_owned())),
        }
    }

    /// Refuses what another user than the tree's owner owns or may write.
    pub fn owns(&self, what: &str, meta: &Metadata) -> std::result::Result<(), Refusal> {
        if self.is_own(meta) {
            return Ok(());
        }
        if Some(meta.gid()) == self.group && meta.uid() == 0 && meta.mode() & 0o002 == 0 {
            return Ok(());
        }
        owned_by_root(what, meta)
    }

    fn is_own(&self, meta: &Metadata) -> bool {
        let me = nix::unistd::geteuid();
        self.own && !me.is_root() && meta.uid() == me.as_raw()
    }

    /// Refuses a directory in which what is root's might be replaced.
    fn keeps(&self, directory: &Path, meta: &Metadata) -> std::result::Result<(), Refusal> {
        match is_shared(meta) && !self.is_own(meta) {
            true => belongs_to_root(&directory.display().to_string(), meta),
            false => self.owns(&directory.display().to_string(), meta),
        }
    }
}

/// The real path of `path`, every step of which only root can change.
fn resolve(path: &Path) -> std::result::Result<PathBuf, Refusal> {
    Base::node().resolve(path)
}

fn resolve_by(
    base: &Base<'_>,
    path: &Path,
    ways: &mut Ways,
) -> std::result::Result<PathBuf, Refusal> {
    if !path.is_absolute() {
        return Err(Refusal::Untrusted("it is not an absolute path".to_owned()));
    }
    let mut at = base.root.to_owned();
    if !ways.0.contains(&at) {
        base.keeps(&at, &fs::symlink_metadata(&at)?)?;
        ways.0.insert(at.clone());
    }
    let mut pending = steps(path);
    let mut links: usize = 0;
    while let Some(step) = pending.pop() {
        if step == OsStr::new("..") {
            if at != base.root {
                at.pop();
            }
            continue;
        }
        let next = at.join(&step);
        if ways.0.contains(&next) {
            at = next;
            continue;
        }
        let meta = fs::symlink_metadata(&next)?;
        if meta.is_symlink() {
            links = links.saturating_add(1);
            if links > MAX_LINKS {
                return Err(Refusal::Untrusted("too many symbolic links".to_owned()));
            }
            // What a link says cannot be changed, but members of the group can add one.
            if is_shared(&fs::symlink_metadata(&at)?) && !base.is_own(&meta) {
                belongs_to_root(&next.display().to_string(), &meta)?;
            }
            let target = fs::read_link(&next)?;
            if target.is_absolute() {
                at = base.root.to_owned();
            }
            pending.extend(steps(&target));
        } else {
            if meta.is_dir() {
                base.keeps(&next, &meta)?;
                ways.0.insert(next.clone());
            } else if !pending.is_empty() {
                return Err(Refusal::Missing);
            }
            at = next;
        }
    }
    Ok(at)
}

/// The components of `path` that move, last first.
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

/// Refuses what somebody other than root owns or may write.
fn owned_by_root(what: &str, meta: &Metadata) -> std::result::Result<(), Refusal> {
    belongs_to_root(what, meta)?;
    if meta.mode() & 0o022 != 0 {
        // A sticky one is meant to be so, as /tmp is.
        let meant = meta.mode() & 0o1000 != 0;
        let remedy = match meta.is_dir() && what.starts_with('/') && !meant {
            true => format!("; run: chmod go-w {what}"),
            false => String::new(),
        };
        return Err(Refusal::Untrusted(format!(
            "{what} is writable by group or others (mode {:04o}, group {}){remedy}",
            meta.mode() & 0o7777,
            meta.gid()
        )));
    }
    Ok(())
}

/// Whether a directory's group may add entries, but not touch those of root.
fn is_shared(meta: &Metadata) -> bool {
    meta.is_dir() && meta.mode() & 0o1022 == 0o1020
}

fn belongs_to_root(what: &str, meta: &Metadata) -> std::result::Result<(), Refusal> {
    if meta.uid() != 0 && Some(meta.uid()) != foreign_root() {
        return Err(Refusal::Untrusted(format!(
            "{what} belongs to uid {}, not to root",
            meta.uid()
        )));
    }
    Ok(())
}

/// The uid that the host's root has in this user namespace, where it has no other.
///
/// In a rootless container engine's namespace the host's root is not mapped, and its files show
/// the overflow uid (`user_namespaces(7)`).
fn foreign_root() -> Option<u32> {
    let map = fs::read_to_string("/proc/self/uid_map").ok()?;
    let maps_root = map.lines().any(|line| {
        let mut fields = line.split_whitespace();
        fields.nth(1).is_some_and(|outside| outside == "0")
    });
    if maps_root {
        return None;
    }
    fs::read_to_string("/proc/sys/kernel/overflowuid")
        .ok()?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A directory whose whole way is root's; the system's own temporary directory is not.
    fn dir() -> tempfile::TempDir {
        tempfile::Builder::new()
            .prefix("oci-apparmor-test")
            .tempdir_in("/run")
            .unwrap()
    }

    #[test]
    fn root_owned_files_are_read() {
        let d = dir();
        let f = d.path().join("f");
        fs::write(&f, "text").unwrap();
        fs::set_permissions(&f, fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&f, d.path().join("link")).unwrap();
        assert_eq!(read(&f, 4).unwrap(), b"text");
        assert_eq!(read(&d.path().join("link"), 4).unwrap(), b"text");
        assert!(matches!(read(&f, 3), Err(Refusal::Untrusted(_))));
    }

    #[test]
    fn what_others_can_write_is_not() {
        let d = dir();
        let f = d.path().join("f");
        fs::write(&f, "text").unwrap();
        fs::set_permissions(&f, fs::Permissions::from_mode(0o664)).unwrap();
        assert!(matches!(read(&f, 9), Err(Refusal::Untrusted(_))));
        fs::set_permissions(&f, fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::chown(&f, Some(1234), None).unwrap();
        assert!(matches!(read(&f, 9), Err(Refusal::Untrusted(_))));
        std::os::unix::fs::chown(&f, Some(0), None).unwrap();
        fs::set_permissions(d.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(read(&f, 9), Err(Refusal::Untrusted(_))));
    }

    #[test]
    fn links_through_open_directories_are_not() {
        let d = dir();
        let open = tempfile::tempdir_in("/tmp").unwrap();
        let f = d.path().join("f");
        fs::write(&f, "text").unwrap();
        fs::set_permissions(&f, fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&f, open.path().join("hop")).unwrap();
        symlink(open.path().join("hop"), d.path().join("link")).unwrap();
        assert!(matches!(
            read(&d.path().join("link"), 9),
            Err(Refusal::Untrusted(_))
        ));
        symlink(d.path().join("loop"), d.path().join("loop")).unwrap();
        assert!(matches!(
            read(&d.path().join("loop"), 9),
            Err(Refusal::Untrusted(_))
        ));
    }

    /// As `/nix/store` is: root:nixbld, mode 1775.
    #[test]
    fn a_directory_that_keeps_what_is_roots_may_be_on_the_way() {
        let d = dir();
        let store = d.path().join("store");
        let f = store.join("runc-1.2/bin/runc");
        fs::create_dir_all(f.parent().unwrap()).unwrap();
        fs::write(&f, "text").unwrap();
        let mode = |path: &Path, mode: u32| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&f, 0o755);
        std::os::unix::fs::chown(&store, None, Some(30000)).unwrap();
        let untrusted = |path: &Path| match read(path, 9) {
            Err(Refusal::Untrusted(why)) => why,
            other => panic!("{other:?}"),
        };
        mode(&store, 0o1775);
        symlink(&f, d.path().join("runc")).unwrap();
        for path in [&f, &d.path().join("runc")] {
            assert_eq!(read(path, 9).unwrap(), b"text");
            program(path).unwrap();
        }
        // It is no directory of which it matters what is in it.
        assert!(matches!(directory(&store), Err(Refusal::Untrusted(_))));
        // What its members add is theirs: a file, a directory, a link.
        fs::write(store.join("file"), "text").unwrap();
        std::os::unix::fs::chown(store.join("file"), Some(1234), None).unwrap();
        assert!(untrusted(&store.join("file")).contains("belongs to uid 1234"));
        let link = store.join("link");
        symlink("runc-1.2", &link).unwrap();
        assert_eq!(read(&link.join("bin/runc"), 9).unwrap(), b"text");
        std::os::unix::fs::lchown(&link, Some(1234), None).unwrap();
        let why = untrusted(&link.join("bin/runc"));
        assert!(
            why.contains("link belongs to uid 1234, not to root"),
            "{why}"
        );
        std::os::unix::fs::chown(store.join("runc-1.2"), Some(1234), None).unwrap();
        assert!(untrusted(&f).contains("belongs to uid 1234"));
        std::os::unix::fs::chown(store.join("runc-1.2"), Some(0), None).unwrap();
        // Without the bit, as /usr/local of group staff; or for anybody, as /tmp.
        for open in [0o2775, 0o1777, 0o1757] {
            mode(&store, open);
            let why = untrusted(&f);
            let remedy = format!("group 30000); run: chmod go-w {}", store.display());
            assert!(why.contains("is writable by group or others"), "{why}");
            assert_eq!(why.ends_with(&remedy), open & 0o1000 == 0, "{why}");
        }
        mode(&store, 0o2775 & !0o022);
        assert_eq!(read(&f, 9).unwrap(), b"text");
    }

    #[test]
    fn a_tree_keeps_its_links() {
        let d = dir();
        let base = d.path().canonicalize().unwrap();
        let tree = Base::new(&base);
        fs::create_dir(base.join("etc")).unwrap();
        fs::write(base.join("etc/f"), "text").unwrap();
        for (link, target) in [
            ("absolute", "/etc/f"),
            ("up", "../../../../../etc/f"),
            ("out", "/etc/passwd"),
        ] {
            symlink(target, base.join("etc").join(link)).unwrap();
        }
        for inside in ["/etc/f", "/etc/absolute", "/etc/up", "/../etc/f"] {
            let real = tree.resolve(Path::new(inside)).unwrap();
            assert_eq!(real, base.join("etc/f"), "{inside}");
            assert_eq!(tree.read(Path::new(inside), 9).unwrap(), b"text");
        }
        let out = tree.read(Path::new("/etc/out"), 9);
        assert!(matches!(out, Err(Refusal::Missing)));
        fs::set_permissions(base.join("etc"), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(
            tree.read(Path::new("/etc/f"), 9),
            Err(Refusal::Untrusted(_))
        ));
    }

    #[test]
    fn fifos_and_directories_are_not() {
        let d = dir();
        nix::unistd::mkfifo(&d.path().join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(matches!(
            read(&d.path().join("fifo"), 9),
            Err(Refusal::Untrusted(_))
        ));
        assert!(matches!(read(d.path(), 9), Err(Refusal::Untrusted(_))));
        assert!(matches!(
            read(&d.path().join("none"), 9),
            Err(Refusal::Missing)
        ));
    }
}

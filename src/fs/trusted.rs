//! Checked access to files of this node that only root can have written; see
//! [`tree`](crate::fs::tree) for the rules.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::fs::tree::Tree;
use crate::fs::trust::written_only_by_root;

pub use crate::fs::tree::CheckedDirectories;
pub use crate::fs::trust::{Distrust, TrustError, Trusted};

/// Reads a trusted regular file of at most `max` bytes.
///
/// # Errors
/// [`TrustError`]; a larger file is untrusted.
pub fn read(path: &Path, max: u64) -> Trusted<Vec<u8>> {
    read_with(path, max, &mut CheckedDirectories::default())
}

/// Like [`read`], without checking a directory in `checked` again.
///
/// # Errors
/// As for [`read`].
pub fn read_with(path: &Path, max: u64, checked: &mut CheckedDirectories) -> Trusted<Vec<u8>> {
    let (bytes, _) = read_or_directory(path, max, checked)?;
    bytes.ok_or_else(|| TrustError::untrusted("it is not a regular file"))
}

/// Like [`read`], with the metadata from before the first byte was read.
///
/// # Errors
/// As for [`read`].
pub fn read_with_metadata(path: &Path, max: u64) -> Trusted<(Vec<u8>, Metadata)> {
    match read_or_directory(path, max, &mut CheckedDirectories::default())? {
        (Some(bytes), meta) => Ok((bytes, meta)),
        (None, _) => Err(TrustError::untrusted("it is not a regular file")),
    }
}

/// Reads a trusted file, or returns `None` as its bytes if `path` is a trusted directory. With
/// the same `checked` for several files, each directory is checked once.
///
/// # Errors
/// As for [`read`].
pub fn read_or_directory(
    path: &Path,
    max: u64,
    checked: &mut CheckedDirectories,
) -> Trusted<(Option<Vec<u8>>, Metadata)> {
    Tree::node().open_with(path, max, checked)
}

/// Resolves the path of a program that only root can have installed.
///
/// # Errors
/// [`TrustError`].
pub fn program(path: &Path) -> Trusted<PathBuf> {
    Ok(program_with_metadata(path, &mut CheckedDirectories::default())?.0)
}

/// Like [`program`], with its metadata, and without checking a directory in `checked` again.
///
/// # Errors
/// As for [`program`].
pub fn program_with_metadata(
    path: &Path,
    checked: &mut CheckedDirectories,
) -> Trusted<(PathBuf, Metadata)> {
    let (resolved, meta) = Tree::node().walk(path, checked)?;
    let meta = meta.map_or_else(|| fs::metadata(&resolved), Ok)?;
    if !meta.is_file() || meta.mode() & 0o111 == 0 {
        return Err(TrustError::untrusted("it is not an executable file"));
    }
    written_only_by_root("it", &meta)?;
    Ok((resolved, meta))
}

/// Checks that only root can add, remove or change entries of the directory `path`.
///
/// # Errors
/// [`TrustError`].
pub fn directory(path: &Path) -> Trusted<()> {
    let resolved = Tree::node().resolve(path)?;
    let meta = fs::metadata(&resolved)?;
    if !meta.is_dir() {
        return Err(TrustError::untrusted("it is not a directory"));
    }
    // Stricter than for a directory on the path: with the sticky bit, others could add entries.
    written_only_by_root(&resolved.display().to_string(), &meta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A directory that is trusted; the system's temporary directory is not.
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
        assert!(matches!(read(&f, 3), Err(TrustError::Untrusted(_))));
    }

    #[test]
    fn files_that_others_can_write_are_refused() {
        let d = dir();
        let f = d.path().join("f");
        fs::write(&f, "text").unwrap();
        fs::set_permissions(&f, fs::Permissions::from_mode(0o664)).unwrap();
        assert!(matches!(read(&f, 9), Err(TrustError::Untrusted(_))));
        fs::set_permissions(&f, fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::chown(&f, Some(1234), None).unwrap();
        assert!(matches!(read(&f, 9), Err(TrustError::Untrusted(_))));
        std::os::unix::fs::chown(&f, Some(0), None).unwrap();
        fs::set_permissions(d.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(read(&f, 9), Err(TrustError::Untrusted(_))));
    }

    #[test]
    fn links_through_directories_that_others_can_write_are_refused() {
        let d = dir();
        let open = tempfile::tempdir_in("/tmp").unwrap();
        let f = d.path().join("f");
        fs::write(&f, "text").unwrap();
        fs::set_permissions(&f, fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&f, open.path().join("hop")).unwrap();
        symlink(open.path().join("hop"), d.path().join("link")).unwrap();
        assert!(matches!(
            read(&d.path().join("link"), 9),
            Err(TrustError::Untrusted(_))
        ));
        symlink(d.path().join("loop"), d.path().join("loop")).unwrap();
        assert!(matches!(
            read(&d.path().join("loop"), 9),
            Err(TrustError::Untrusted(_))
        ));
    }

    /// As `/nix/store` is: root:nixbld, mode 1775.
    #[test]
    fn a_sticky_directory_of_a_group_may_be_on_the_path() {
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
            Err(TrustError::Untrusted(why)) => why,
            other => panic!("{other:?}"),
        };
        mode(&store, 0o1775);
        symlink(&f, d.path().join("runc")).unwrap();
        for path in [&f, &d.path().join("runc")] {
            assert_eq!(read(path, 9).unwrap(), b"text");
            program(path).unwrap();
        }
        // Its entries are not trusted.
        assert!(matches!(directory(&store), Err(TrustError::Untrusted(_))));
        // Files, directories and links that members of the group add are refused.
        fs::write(store.join("file"), "text").unwrap();
        std::os::unix::fs::chown(store.join("file"), Some(1234), None).unwrap();
        assert!(
            untrusted(&store.join("file"))
                .to_string()
                .contains("belongs to uid 1234")
        );
        let link = store.join("link");
        symlink("runc-1.2", &link).unwrap();
        assert_eq!(read(&link.join("bin/runc"), 9).unwrap(), b"text");
        std::os::unix::fs::lchown(&link, Some(1234), None).unwrap();
        let why = untrusted(&link.join("bin/runc"));
        assert!(
            why.to_string()
                .contains("link belongs to uid 1234, not to root"),
            "{why}"
        );
        std::os::unix::fs::chown(store.join("runc-1.2"), Some(1234), None).unwrap();
        assert!(untrusted(&f).to_string().contains("belongs to uid 1234"));
        std::os::unix::fs::chown(store.join("runc-1.2"), Some(0), None).unwrap();
        // Without the sticky bit, as /usr/local of group staff; or writable by all, as /tmp.
        for open in [0o2775, 0o1777, 0o1757] {
            mode(&store, open);
            let why = untrusted(&f);
            let remedy = format!("run: chmod go-w {}", store.display());
            assert!(
                why.to_string().contains("is writable by group or others"),
                "{why}"
            );
            assert_eq!(why.remedy() == Some(&*remedy), open & 0o1000 == 0, "{why}");
        }
        mode(&store, 0o2775 & !0o022);
        assert_eq!(read(&f, 9).unwrap(), b"text");
    }

    #[test]
    fn a_tree_keeps_its_links() {
        let d = dir();
        let root = d.path().canonicalize().unwrap();
        let tree = Tree::new(&root);
        fs::create_dir(root.join("etc")).unwrap();
        fs::write(root.join("etc/f"), "text").unwrap();
        for (link, target) in [
            ("absolute", "/etc/f"),
            ("up", "../../../../../etc/f"),
            ("out", "/etc/passwd"),
        ] {
            symlink(target, root.join("etc").join(link)).unwrap();
        }
        for inside in ["/etc/f", "/etc/absolute", "/etc/up", "/../etc/f"] {
            let real = tree.resolve(Path::new(inside)).unwrap();
            assert_eq!(real, root.join("etc/f"), "{inside}");
            assert_eq!(tree.read(Path::new(inside), 9).unwrap(), b"text");
        }
        let out = tree.read(Path::new("/etc/out"), 9);
        assert!(matches!(out, Err(TrustError::Missing)));
        fs::set_permissions(root.join("etc"), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(
            tree.read(Path::new("/etc/f"), 9),
            Err(TrustError::Untrusted(_))
        ));
    }

    #[test]
    fn fifos_and_directories_are_refused() {
        let d = dir();
        nix::unistd::mkfifo(&d.path().join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(matches!(
            read(&d.path().join("fifo"), 9),
            Err(TrustError::Untrusted(_))
        ));
        assert!(matches!(read(d.path(), 9), Err(TrustError::Untrusted(_))));
        assert!(matches!(
            read(&d.path().join("none"), 9),
            Err(TrustError::Missing)
        ));
    }
}

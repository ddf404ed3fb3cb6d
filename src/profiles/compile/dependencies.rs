//! Every file that the meaning of a profile's text depends on.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::error::{Error, Kind, Result};
use crate::fs::fingerprint::Fingerprint;
use crate::fs::tree::CheckedDirectories;
use crate::fs::trusted::{self, TrustError};
use crate::profiles::compile::include::targets;

/// The largest included file, in bytes, as for sources.
const MAX: u64 = 4 << 20;
/// How many files one profile may depend on.
const MAX_FILES: usize = 2000;

/// The search path of the parser for `<path>` targets.
#[derive(Debug, Clone)]
pub(super) struct SearchPath {
    /// The directories, in the parser's order.
    pub directories: Vec<PathBuf>,
}

/// The files that a profile includes, directly or through other files.
#[derive(Debug)]
pub(super) struct Dependencies {
    /// Every path that was looked at, also missing ones.
    pub files: Vec<(PathBuf, Fingerprint)>,
    /// When the first of them was looked at.
    pub read: SystemTime,
    /// The targets of all directives.
    targets: BTreeSet<String>,
    digest: Sha256,
}

impl Dependencies {
    /// Reads everything that `text` includes.
    ///
    /// # Errors
    /// [`Kind::Policy`] if an included file is not trusted: a user who can write it could change
    /// the profile.
    pub(super) fn of(text: &[u8], search: &SearchPath) -> Result<Self> {
        let mut walk = Walk {
            search,
            seen: BTreeSet::new(),
            checked: CheckedDirectories::default(),
            dependencies: Self {
                files: Vec::new(),
                read: SystemTime::now(),
                targets: BTreeSet::new(),
                digest: Sha256::new_with_prefix(Sha256::digest(text)),
            },
        };
        walk.text(text)?;
        Ok(walk.dependencies)
    }

    /// A digest of the text and of everything that it includes.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }

    /// Whether all of these include targets, listed by the parser, were found.
    pub(super) fn contains_all(&self, included: &[String]) -> bool {
        included.iter().all(|target| self.targets.contains(target))
    }
}

struct Walk<'s> {
    search: &'s SearchPath,
    seen: BTreeSet<PathBuf>,
    checked: CheckedDirectories,
    dependencies: Dependencies,
}

impl Walk<'_> {
    fn text(&mut self, text: &[u8]) -> Result<()> {
        for target in targets(&String::from_utf8_lossy(text)) {
            if !self.dependencies.targets.insert(target.clone()) {
                continue;
            }
            let path = target
                .get(1..target.len().saturating_sub(1))
                .unwrap_or_default();
            if target.starts_with('<') {
                // In all directories: the parser takes the first match, and that may change.
                for directory in self.search.directories.clone() {
                    self.path(directory.join(path.trim_start_matches('/')))?;
                }
            } else {
                // The parser runs in `/`.
                self.path(Path::new("/").join(path))?;
            }
        }
        Ok(())
    }

    fn path(&mut self, path: PathBuf) -> Result<()> {
        if !self.seen.insert(path.clone()) {
            return Ok(());
        }
        if self.seen.len() > MAX_FILES {
            let why = format!("it includes more than {MAX_FILES} files");
            return Err(Error::new(Kind::Policy, why).with_remedy("include fewer files"));
        }
        let refused = |e: TrustError| {
            e.about(&path, Kind::Policy)
                .about("it includes a file that cannot be used")
                .or_remedy("root must own included files, and only root may write them")
        };
        match trusted::read_or_directory(&path, MAX, &mut self.checked) {
            Ok((Some(bytes), meta)) => {
                self.add(&path, Fingerprint::of(&meta), &Sha256::digest(&bytes));
                self.text(&bytes)
            }
            Ok((None, meta)) => {
                // The fingerprint is older than the list, so a new entry changes it.
                self.add(&path, Fingerprint::of(&meta), b"directory");
                let entries: io::Result<Vec<_>> = fs::read_dir(&path).and_then(Iterator::collect);
                let mut entries = entries.map_err(|e| Error::io("list", &path, &e))?;
                entries.sort_by_key(fs::DirEntry::file_name);
                for entry in entries {
                    self.path(entry.path())?;
                }
                Ok(())
            }
            Err(TrustError::Missing) => {
                self.add(&path, Fingerprint::ABSENT, b"absent");
                Ok(())
            }
            Err(e) => Err(refused(e)),
        }
    }

    fn add(&mut self, path: &Path, fingerprint: Fingerprint, content: &[u8]) {
        let digest = &mut self.dependencies.digest;
        digest.update(Sha256::digest(path.as_os_str().as_encoded_bytes()));
        digest.update(Sha256::digest(content));
        self.dependencies.files.push((path.to_owned(), fingerprint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Includes(tempfile::TempDir);

    impl Includes {
        fn new() -> Self {
            let dir = tempfile::Builder::new()
                .permissions(fs::Permissions::from_mode(0o755))
                .tempdir_in("/run")
                .unwrap();
            Self(dir)
        }

        fn put(&self, name: &str, text: &str) {
            let path = self.0.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        }

        fn of(&self, text: &str) -> Result<Dependencies> {
            let directories = vec![self.0.path().to_owned()];
            Dependencies::of(text.as_bytes(), &SearchPath { directories })
        }

        fn digest(&self, text: &str) -> [u8; 32] {
            self.of(text).unwrap().digest()
        }
    }

    #[test]
    fn a_change_of_any_included_file_changes_the_digest() {
        let includes = Includes::new();
        includes.put(
            "a",
            "include <b>\ninclude if exists <local/x>\nabi <abi/3.0>,\n",
        );
        includes.put("b", "/x r,\n");
        includes.put("abi/3.0", "1");
        includes.put("d/one", "/y r,\n");
        let text = "include <a>\ninclude <d>\n";
        let mut digests = vec![includes.digest(text)];
        assert_eq!(includes.digest(text), digests[0]);
        for (name, content) in [
            ("b", "/x w,\n"),
            ("local/x", "/z r,\n"),
            ("abi/3.0", "2"),
            ("d/two", "/w r,\n"),
            ("d/one", "include <e>\n"),
            ("e", "/e r,\n"),
        ] {
            includes.put(name, content);
            let digest = includes.digest(text);
            assert!(!digests.contains(&digest), "{name}");
            digests.push(digest);
        }
        assert!(!digests.contains(&includes.digest("include <a>\ninclude <d>\n\n")));
        includes.put("unrelated", "/x r,\n");
        assert_eq!(includes.digest(text), *digests.last().unwrap());
    }

    #[test]
    fn missing_files_and_circles_are_handled() {
        let includes = Includes::new();
        includes.put("a", "include <b>\n");
        includes.put("b", "include <a>\n#include <none>\n");
        let dependencies = includes.of("include <a>").unwrap();
        let names: Vec<_> = dependencies
            .files
            .iter()
            .map(|(p, _)| p.file_name().unwrap())
            .collect();
        assert_eq!(names, ["a", "b", "none"]);
        assert_eq!(dependencies.files[2].1, Fingerprint::ABSENT);
        assert!(dependencies.contains_all(&["<a>".into(), "<none>".into()]));
        assert!(!dependencies.contains_all(&["<a>".into(), "<other>".into()]));
    }

    #[test]
    fn files_that_others_can_write_are_refused() {
        let includes = Includes::new();
        includes.put("a", "/x r,");
        fs::set_permissions(
            includes.0.path().join("a"),
            fs::Permissions::from_mode(0o666),
        )
        .unwrap();
        let e = includes.of("include <a>").unwrap_err().to_string();
        assert!(e.contains("not trusted"), "{e}");
        let fifo = includes.0.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(includes.of("include <fifo>").is_err());
    }
}

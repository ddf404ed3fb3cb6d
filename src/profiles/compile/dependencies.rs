//! Everything that the meaning of a profile's text depends on, on disk.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::error::{Error, Kind, Result};
use crate::fs::fingerprint::Stamp;
use crate::fs::trusted::{self, Refusal, Ways};
use crate::profiles::compile::include::targets;

/// The largest included file, as for sources; and how many files one profile may depend on.
const MAX: u64 = 4 << 20;
const MAX_FILES: usize = 2000;

/// Where the compiler looks for `<magic>` paths.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    /// Its directories, in its order.
    pub directories: Vec<PathBuf>,
}

/// A profile's text with all that it includes, which may include more.
#[derive(Debug)]
pub(crate) struct Closure {
    /// Every path that was looked at, those that are absent too.
    pub stamps: Vec<(PathBuf, Stamp)>,
    /// When looking began.
    pub read: SystemTime,
    /// The directives that were found.
    targets: BTreeSet<String>,
    digest: Sha256,
}

impl Closure {
    /// Follows every directive of `text`.
    ///
    /// # Errors
    /// [`Kind::Policy`] where something that is included is not trusted: whoever can write it
    /// could write the profile.
    pub(crate) fn of(text: &[u8], search: &Search) -> Result<Self> {
        let mut walk = Walk {
            search,
            seen: BTreeSet::new(),
            ways: Ways::default(),
            closure: Self {
                stamps: Vec::new(),
                read: SystemTime::now(),
                targets: BTreeSet::new(),
                digest: Sha256::new_with_prefix(Sha256::digest(text)),
            },
        };
        walk.text(text)?;
        Ok(walk.closure)
    }

    /// A digest of the text and of everything that it includes.
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }

    /// Whether every one of the compiler's directives was found.
    pub(crate) fn knows(&self, included: &[String]) -> bool {
        included.iter().all(|target| self.targets.contains(target))
    }
}

struct Walk<'s> {
    search: &'s Search,
    seen: BTreeSet<PathBuf>,
    ways: Ways,
    closure: Closure,
}

impl Walk<'_> {
    fn text(&mut self, text: &[u8]) -> Result<()> {
        for target in targets(&String::from_utf8_lossy(text)) {
            if !self.closure.targets.insert(target.clone()) {
                continue;
            }
            let named = target
                .get(1..target.len().saturating_sub(1))
                .unwrap_or_default();
            if target.starts_with('<') {
                // All of them: the first that has it wins, and that can change.
                for directory in self.search.directories.clone() {
                    self.path(directory.join(named.trim_start_matches('/')))?;
                }
            } else {
                // The compiler runs in `/`.
                self.path(Path::new("/").join(named))?;
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
            return Err(Error::new(Kind::Policy, why).with_remedy("include less"));
        }
        let refused = |refusal: Refusal| {
            refusal
                .about(&path, Kind::Policy)
                .about("it includes a file that cannot be used")
                .with_remedy("what profiles include must belong to root alone")
        };
        match trusted::look(&path, MAX, &mut self.ways) {
            Ok((Some(bytes), meta)) => {
                self.add(&path, Stamp::of(&meta), &Sha256::digest(&bytes));
                self.text(&bytes)
            }
            Ok((None, meta)) => {
                // Its stamp is from before the list: what appears meanwhile changes it.
                self.add(&path, Stamp::of(&meta), b"directory");
                let entries: io::Result<Vec<_>> = fs::read_dir(&path).and_then(Iterator::collect);
                let mut entries = entries.map_err(|e| Error::io("list", &path, &e))?;
                entries.sort_by_key(fs::DirEntry::file_name);
                for entry in entries {
                    self.path(entry.path())?;
                }
                Ok(())
            }
            Err(Refusal::Missing) => {
                self.add(&path, Stamp::ABSENT, b"absent");
                Ok(())
            }
            Err(refusal) => Err(refused(refusal)),
        }
    }

    fn add(&mut self, path: &Path, stamp: Stamp, content: &[u8]) {
        let digest = &mut self.closure.digest;
        digest.update(Sha256::digest(path.as_os_str().as_encoded_bytes()));
        digest.update(Sha256::digest(content));
        self.closure.stamps.push((path.to_owned(), stamp));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Base(tempfile::TempDir);

    impl Base {
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

        fn of(&self, text: &str) -> Result<Closure> {
            let directories = vec![self.0.path().to_owned()];
            Closure::of(text.as_bytes(), &Search { directories })
        }

        fn digest(&self, text: &str) -> [u8; 32] {
            self.of(text).unwrap().digest()
        }
    }

    #[test]
    fn whatever_is_included_changes_the_digest() {
        let base = Base::new();
        base.put(
            "a",
            "include <b>\ninclude if exists <local/x>\nabi <abi/3.0>,\n",
        );
        base.put("b", "/x r,\n");
        base.put("abi/3.0", "1");
        base.put("d/one", "/y r,\n");
        let text = "include <a>\ninclude <d>\n";
        let mut digests = vec![base.digest(text)];
        assert_eq!(base.digest(text), digests[0]);
        for (name, content) in [
            ("b", "/x w,\n"),
            ("local/x", "/z r,\n"),
            ("abi/3.0", "2"),
            ("d/two", "/w r,\n"),
            ("d/one", "include <e>\n"),
            ("e", "/e r,\n"),
        ] {
            base.put(name, content);
            let digest = base.digest(text);
            assert!(!digests.contains(&digest), "{name}");
            digests.push(digest);
        }
        assert!(!digests.contains(&base.digest("include <a>\ninclude <d>\n\n")));
        base.put("unrelated", "/x r,\n");
        assert_eq!(base.digest(text), *digests.last().unwrap());
    }

    #[test]
    fn what_is_missing_and_what_goes_in_circles_ends() {
        let base = Base::new();
        base.put("a", "include <b>\n");
        base.put("b", "include <a>\n#include <none>\n");
        let closure = base.of("include <a>").unwrap();
        let names: Vec<_> = closure
            .stamps
            .iter()
            .map(|(p, _)| p.file_name().unwrap())
            .collect();
        assert_eq!(names, ["a", "b", "none"]);
        assert_eq!(closure.stamps[2].1, Stamp::ABSENT);
        assert!(closure.knows(&["<a>".into(), "<none>".into()]));
        assert!(!closure.knows(&["<a>".into(), "<other>".into()]));
    }

    #[test]
    fn what_others_can_write_is_refused() {
        let base = Base::new();
        base.put("a", "/x r,");
        fs::set_permissions(base.0.path().join("a"), fs::Permissions::from_mode(0o666)).unwrap();
        let e = base.of("include <a>").unwrap_err().to_string();
        assert!(e.contains("not trusted"), "{e}");
        let fifo = base.0.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(base.of("include <fifo>").is_err());
    }
}

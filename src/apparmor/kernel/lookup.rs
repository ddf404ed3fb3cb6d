//! Finding a loaded profile by its name.
//!
//! Each profile has a directory below `policy/profiles`. If the directory is known, three small
//! reads are enough, however many profiles are loaded. Otherwise `policy/profiles` is listed once.
//! The file `profiles` is never read: it takes a lock, and its size grows with every profile.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::apparmor::kernel::revision::Revision;
use crate::apparmor::kernel::securityfs::{Kernel, line};
use crate::apparmor::loaded::{Loaded, Mode};
use crate::apparmor::name::ProfileName;
use crate::error::{Error, Kind, Result};

/// The directory of a profile's children, inside its own.
pub(super) const CHILDREN: &str = "profiles";

/// How often a look-up is repeated while other profiles are loaded and removed.
const ATTEMPTS: u32 = 16;

impl Kernel {
    /// The profile called `name`, if this is its directory. Reads at most four small files.
    #[must_use]
    pub fn at(&self, directory: &str, name: &str) -> Option<Loaded> {
        let path = self.profiles().join(directory);
        // Split from the left, as the kernel does: a child's name may be a path, `parent///bin/x`.
        let last = name.split("//").last().unwrap_or_default();
        // Several names can lead to the same directory name; only this file has the real name.
        if line(&path.join("name"))? != last {
            return None;
        }
        self.described(directory)
    }

    /// The profile in this directory. The caller has read its name.
    #[must_use]
    pub fn described(&self, directory: &str) -> Option<Loaded> {
        let path = self.profiles().join(directory);
        Some(Loaded {
            mode: Mode::parse(&line(&path.join("mode"))?),
            // The file is empty if a profile with a hash was replaced by one without.
            hash: line(&path.join("sha256"))
                .or_else(|| line(&path.join("sha1")))
                .filter(|hash| !hash.is_empty()),
            directory: directory.to_owned(),
        })
    }

    /// The loaded profile of this name.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the kernel's files cannot be read, or if two loaded profiles have
    /// this name.
    pub fn loaded(&self, name: &ProfileName) -> Result<Option<Loaded>> {
        self.named(name.as_str())
    }

    /// Like [`Kernel::loaded`], for a name from compiled policy: the name of a child may contain
    /// any character.
    ///
    /// # Errors
    /// As for [`Kernel::loaded`].
    pub fn named(&self, name: &str) -> Result<Option<Loaded>> {
        self.named_at(name, self.revision())
    }

    /// Like [`Kernel::named`], with a revision that was read just before.
    ///
    /// # Errors
    /// As for [`Kernel::loaded`].
    pub fn named_at(&self, name: &str, revision: Option<Revision>) -> Result<Option<Loaded>> {
        // Listing the directory can miss a profile that is loaded at the same time; then the
        // revision has changed.
        let mut before = revision;
        for _ in 0..ATTEMPTS {
            let found = self.find(name)?;
            let after = if found.is_some() {
                before
            } else {
                self.revision()
            };
            if before == after {
                return Ok(found);
            }
            before = after;
        }
        // Profiles are loaded all the time, as at boot. A profile that stays loaded is always
        // found, so this one is missing.
        Ok(None)
    }

    fn find(&self, name: &str) -> Result<Option<Loaded>> {
        let mut inside = self.profiles();
        let mut directory = PathBuf::new();
        for (depth, part) in name.split("//").enumerate() {
            if depth > 0 {
                directory.push(CHILDREN);
                inside.push(CHILDREN);
            }
            let Some(entry) = entry_of(&inside, part)? else {
                return Ok(None);
            };
            directory.push(&entry);
            inside.push(&entry);
        }
        Ok(self.described(&directory.to_string_lossy()))
    }
}

/// The entry of the directory `inside` for the profile or child called `part`.
fn entry_of(inside: &Path, part: &str) -> Result<Option<String>> {
    let entries = match fs::read_dir(inside) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("list", inside, &e)),
    };
    let stem = mangled(part);
    let mut found = None;
    for entry in entries {
        let entry = entry
            .map_err(|e| Error::io("list", inside, &e))?
            .file_name();
        let Some(text) = entry.to_str() else { continue };
        let numbered = text
            .strip_prefix(&stem)
            .and_then(|rest| rest.strip_prefix('.'));
        if !numbered.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) {
            continue;
        }
        if line(&inside.join(text).join("name")).as_deref() != Some(part) {
            continue;
        }
        // The kernel accepts one blob that declares a name twice, and then has both profiles.
        if found.replace(text.to_owned()).is_some() {
            return Err(Error::new(
                Kind::Internal,
                format!("the kernel has loaded two profiles named {part}"),
            )
            .with_remedy("reboot the node: the kernel cannot tell them apart"));
        }
    }
    Ok(found)
}

/// The name of a profile's directory without its number (`mangle_name()`, apparmorfs.c).
fn mangled(name: &str) -> String {
    name.trim_start_matches(['/', '.'])
        .chars()
        .filter_map(|c| match c {
            '/' => Some('.'),
            c if c.is_ascii_whitespace() => Some('_'),
            c if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') => Some(c),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apparmor::kernel::securityfs::tests::sys;
    use std::fs::File;

    fn name(text: &str) -> ProfileName {
        ProfileName::parse(text).unwrap()
    }

    #[test]
    fn profiles_are_found_by_name_not_by_directory() {
        let (_d, kernel) = sys(&[
            ("foo.bar.14", "foo.bar", "enforce"),
            ("foo.bar.15", "foo/bar", "complain"),
            ("foo.16", "foo", "kill"),
            ("foo.bar.x", "foo.bar", "enforce"),
            ("foo.16/profiles/child.17", "child", "enforce"),
        ]);
        let found = |n: &str| {
            kernel
                .loaded(&name(n))
                .unwrap()
                .map(|l| (l.directory, l.mode))
        };
        assert_eq!(found("foo.bar"), Some(("foo.bar.14".into(), Mode::Enforce)));
        assert_eq!(
            found("foo/bar"),
            Some(("foo.bar.15".into(), Mode::Complain))
        );
        assert_eq!(found("foo"), Some(("foo.16".into(), Mode::Kill)));
        assert_eq!(
            found("foo//child"),
            Some(("foo.16/profiles/child.17".into(), Mode::Enforce))
        );
        let mut all: Vec<_> = kernel.all().unwrap().into_iter().map(|(n, _)| n).collect();
        all.sort();
        assert_eq!(all, ["foo", "foo.bar", "foo.bar", "foo/bar"]);
        assert_eq!(found("foo.ba"), None);
        assert_eq!(found("foo//other"), None);
    }

    #[test]
    fn a_missing_profile_is_reported_even_while_others_are_loaded() {
        use std::os::unix::fs::FileExt;
        use std::sync::atomic::{AtomicBool, Ordering};
        let (_d, kernel) = sys(&[("p.1", "p", "enforce")]);
        let crowd = (0..2000).map(|n| kernel.profiles().join(format!("crowd.{n}")));
        crowd.for_each(|d| fs::create_dir(d).unwrap());
        let revision = kernel.securityfs.join("revision");
        let revision = File::create(&revision).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 1_u64.. {
                    revision
                        .write_all_at(format!("{n:020}").as_bytes(), 0)
                        .unwrap();
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
            while kernel.revision().is_none() {}
            let found = kernel.loaded(&name("none"));
            let there = kernel.loaded(&name("p"));
            over.store(true, Ordering::Relaxed);
            assert_eq!(found.unwrap(), None);
            assert!(there.unwrap().is_some());
        });
    }

    #[test]
    fn two_profiles_of_one_name_are_refused() {
        let (_d, kernel) = sys(&[("p.1", "p", "enforce"), ("p.2", "p", "complain")]);
        assert!(kernel.loaded(&name("p")).is_err());
    }

    #[test]
    fn a_directory_is_used_only_for_its_own_profile() {
        let (_d, kernel) = sys(&[("p.1", "p", "enforce"), ("pq.2", "p/q", "kill")]);
        let at = |directory: &str, n: &str| kernel.at(directory, n);
        let found = at("p.1", "p").unwrap();
        assert_eq!((found.mode, found.hash), (Mode::Enforce, None));
        assert_eq!(at("p.2", "p"), None);
        assert_eq!(at("pq.2", "pq"), None);
        for (file, text, hash) in [
            ("sha1", "", None),
            ("sha1", "0a", Some("0a")),
            ("sha256", "0b", Some("0b")),
        ] {
            fs::write(kernel.profiles().join("p.1").join(file), text).unwrap();
            assert_eq!(at("p.1", "p").unwrap().hash.as_deref(), hash);
        }
        fs::rename(kernel.profiles().join("p.1"), kernel.profiles().join("p.3")).unwrap();
        assert_eq!(at("p.1", "p"), None);
    }

    #[test]
    fn names_are_mangled_as_the_kernel_does() {
        for (name, directory) in [
            ("/usr/bin/foo", "usr.bin.foo"),
            ("k8s.io/foo-bar_1", "k8s.io.foo-bar_1"),
            ("weird+(n)ame@1", "weirdname1"),
            ("..dots", "dots"),
        ] {
            assert_eq!(mangled(name), directory);
        }
    }
}

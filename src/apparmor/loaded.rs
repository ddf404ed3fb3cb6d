//! Which profiles the kernel holds, and how.
//!
//! Each has a directory below `policy/profiles`. To know that directory is to know the profile in
//! three small reads, however many others are loaded; to find it, the directory of all profiles
//! is listed once. The list `profiles`, which takes a lock and grows with every profile, is
//! never read.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::apparmor::kernel::Kernel;
use crate::apparmor::name::ProfileName;
use crate::error::{Error, Kind, Result};

/// Where a profile's directory has those of its children.
const CHILDREN: &str = "profiles";

/// The mode of a loaded profile, as `policy/profiles/*/mode` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What the profile does not allow is refused.
    Enforce,
    /// What the profile does not allow is logged, and happens.
    Complain,
    /// What the profile does not allow kills the process.
    Kill,
    /// The profile confines nothing (`flags=(unconfined)`, `flags=(default_allow)`).
    Unconfined,
    /// The profile asks a person (`flags=(prompt)`), or the kernel says something new.
    User,
}

impl Mode {
    /// Whether the profile confines.
    #[must_use]
    pub fn enforces(self) -> bool {
        matches!(self, Self::Enforce | Self::Kill)
    }

    pub(super) fn parse(text: &str) -> Self {
        match text {
            "enforce" => Self::Enforce,
            "complain" => Self::Complain,
            "kill" => Self::Kill,
            "unconfined" => Self::Unconfined,
            _ => Self::User,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enforce => "enforce",
            Self::Complain => "complain",
            Self::Kill => "kill",
            Self::Unconfined => "unconfined",
            Self::User => "user",
        })
    }
}

/// A profile in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its directory below `policy/profiles/`. The number at its end is never used twice: a
    /// profile that was removed and loaded again has another one.
    pub directory: String,
    /// Its mode.
    pub mode: Mode,
    /// What identifies its content, as 40 (SHA-1, before 6.8) or 64 (SHA-256) hexadecimal digits;
    /// see [`blob::Declared`](crate::apparmor::blob::Declared). `None` where the kernel keeps
    /// none (`CONFIG_SECURITY_APPARMOR_HASH`, parameter `hash_policy`).
    pub hash: Option<String>,
}

impl Kernel {
    /// The profile of this name, if it has that directory; three small files are read.
    #[must_use]
    pub fn at(&self, directory: &str, name: &str) -> Option<Loaded> {
        let path = self.profiles().join(directory);
        // From the left, as the kernel does: a child may be named like a path, `parent///bin/x`.
        let last = name.split("//").last().unwrap_or_default();
        // Names with the same letters share a stem; and nothing but this says whose it is.
        if line(&path.join("name"))? != last {
            return None;
        }
        self.described(directory)
    }

    /// What the kernel says of the profile in this directory, whose name was read before.
    #[must_use]
    pub fn described(&self, directory: &str) -> Option<Loaded> {
        let path = self.profiles().join(directory);
        Some(Loaded {
            mode: Mode::parse(&line(&path.join("mode"))?),
            // The file is empty where a profile with a hash was replaced by one without.
            hash: line(&path.join("sha256"))
                .or_else(|| line(&path.join("sha1")))
                .filter(|hash| !hash.is_empty()),
            directory: directory.to_owned(),
        })
    }

    /// The loaded profile of this name, wherever its directory is.
    ///
    /// Finds it by the kernel's own mangling of names and confirms it by its `name` file.
    ///
    /// # Errors
    /// Where the kernel's tree cannot be read, or shows the name twice.
    pub fn loaded(&self, name: &ProfileName) -> Result<Option<Loaded>> {
        self.named(name.as_str())
    }

    /// The same, for a name that compiled policy declares: a child's may hold anything.
    ///
    /// # Errors
    /// As for [`Kernel::loaded`].
    pub fn named(&self, name: &str) -> Result<Option<Loaded>> {
        self.named_at(name, self.revision())
    }

    /// The same, where the revision was read just before.
    ///
    /// # Errors
    /// As for [`Kernel::loaded`].
    pub fn named_at(&self, name: &str, revision: Option<u64>) -> Result<Option<Loaded>> {
        // A profile may come or go while its directory is listed; the revision tells.
        let mut before = revision;
        for _ in 0..16 {
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
        // Others come and go all the time, as when a node boots. What stays is always found.
        Ok(None)
    }

    /// Every top-level profile with its name, in no order; for those who show them all.
    ///
    /// # Errors
    /// Where the kernel's tree cannot be read.
    pub fn all(&self) -> Result<Vec<(String, Loaded)>> {
        let inside = self.profiles();
        let entries = match fs::read_dir(&inside) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("list", &inside, &e)),
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("list", &inside, &e))?;
            // One that goes meanwhile is gone.
            if let Some(name) = line(&entry.path().join("name"))
                && let Some(loaded) = self.at(&entry.file_name().to_string_lossy(), &name)
            {
                all.push((name, loaded));
            }
        }
        Ok(all)
    }

    /// The directories of a profile's children, and of theirs; of those that it has at this
    /// moment, whoever loaded them. Only names of directories are read.
    ///
    /// # Errors
    /// Where the kernel's tree cannot be read.
    pub fn children(&self, directory: &str) -> Result<Vec<String>> {
        let inside = self.profiles().join(directory).join(CHILDREN);
        let mut children = Vec::new();
        let entries = match fs::read_dir(&inside) {
            Ok(entries) => entries,
            // Most profiles have none, and no directory for them.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(children),
            Err(e) => return Err(Error::io("list", &inside, &e)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("list", &inside, &e))?;
            let child = entry.file_name();
            let child = format!("{directory}/{CHILDREN}/{}", child.to_string_lossy());
            let below = self.children(&child)?;
            children.push(child);
            children.extend(below);
        }
        Ok(children)
    }

    /// The full name of the profile in this directory; nothing where it is gone.
    #[must_use]
    pub fn name_at(&self, directory: &str) -> Option<String> {
        let mut path = self.profiles();
        let mut parts = Vec::new();
        for (depth, part) in directory.split(&format!("/{CHILDREN}/")).enumerate() {
            if depth > 0 {
                path.push(CHILDREN);
            }
            path.push(part);
            parts.push(line(&path.join("name"))?);
        }
        Some(parts.join("//"))
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

/// The entry below `inside` that stands for the profile (or child) called `part`.
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
        // The kernel accepts one blob that declares a name twice and then holds both.
        if found.replace(text.to_owned()).is_some() {
            return Err(Error::new(
                Kind::Internal,
                format!("the kernel holds two profiles named {part}"),
            )
            .with_remedy("reboot the node: the kernel cannot tell them apart"));
        }
    }
    Ok(found)
}

/// The kernel's directory name for a profile, without its number (`mangle_name()`, apparmorfs.c).
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

/// The first line of a small kernel file; `None` where it is gone.
///
/// securityfs hands out a file of this kind as a whole in the first read (`seq_read()`).
pub(super) fn line(path: &Path) -> Option<String> {
    let mut bytes = [0; 1024];
    let length = File::open(path).ok()?.read(&mut bytes).ok()?;
    let text = std::str::from_utf8(bytes.get(..length)?).ok()?;
    (length < bytes.len()).then(|| text.trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apparmor::kernel::tests::sys;

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
    fn what_is_missing_is_missing_however_much_changes_meanwhile() {
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
    fn children_of_every_depth_are_listed_with_their_names() {
        let (_d, kernel) = sys(&[
            ("p.1", "p", "enforce"),
            ("p.1/profiles/a.2", "a", "enforce"),
            ("p.1/profiles/bin.x.3", "/bin/x", "enforce"),
            ("p.1/profiles/a.2/profiles/b.4", "b", "enforce"),
            ("q.5", "q", "enforce"),
        ]);
        let mut children = kernel.children("p.1").unwrap();
        children.sort();
        let names: Vec<_> = children
            .iter()
            .map(|d| kernel.name_at(d).unwrap())
            .collect();
        assert_eq!(names, ["p//a", "p//a//b", "p///bin/x"]);
        for (directory, name) in children.iter().zip(&names) {
            assert_eq!(kernel.named(name).unwrap().unwrap().directory, *directory);
            assert!(kernel.at(directory, name).is_some(), "{name}");
        }
        assert_eq!(kernel.name_at("q.5").as_deref(), Some("q"));
        assert_eq!(kernel.name_at("q.5/profiles/none.6"), None);
        assert!(kernel.children("q.5").unwrap().is_empty());
        assert!(kernel.children("none.6").unwrap().is_empty());
    }

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        let (_d, kernel) = sys(&[("p.1", "p", "enforce"), ("p.2", "p", "complain")]);
        assert!(kernel.loaded(&name("p")).is_err());
    }

    #[test]
    fn a_directory_is_believed_only_for_its_own_profile() {
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

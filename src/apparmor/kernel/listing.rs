//! Listing loaded profiles and their children.

use std::fs;
use std::io;

use crate::apparmor::kernel::lookup::CHILDREN;
use crate::apparmor::kernel::securityfs::{Kernel, line};
use crate::apparmor::loaded::{Loaded, Mode};
use crate::error::{Error, Result};
use crate::fs::bounded;

impl Kernel {
    /// Every top-level profile with its name, unsorted.
    ///
    /// # Errors
    /// If the kernel's files cannot be read.
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
            // A profile that is removed at the same time is left out.
            if let Some(name) = line(&entry.path().join("name"))
                && let Some(loaded) = self.at(&entry.file_name().to_string_lossy(), &name)
            {
                all.push((name, loaded));
            }
        }
        Ok(all)
    }

    /// The name and the mode of every profile in the kernel's list, in its order. Unlike the directory
    /// of profiles, it has those that the kernel created in complain mode (`web//null-/bin/sh`,
    /// `aa_new_learning_profile()`), too.
    ///
    /// # Errors
    /// If the list cannot be read.
    pub fn list(&self) -> Result<Vec<(String, Mode)>> {
        /// More than the list of any node.
        const MAX: u64 = 64 << 20;
        let path = self.securityfs.join("profiles");
        let failed = |e: &io::Error| Error::io("read", &path, e);
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed(&e)),
        };
        let bytes = bounded::read(&file, MAX).map_err(|e| failed(&e))?;
        let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        let profile = |line: &str| {
            let (name, mode) = line.strip_suffix(')')?.rsplit_once(" (")?;
            Some((name.to_owned(), Mode::parse(mode)))
        };
        Ok(text.lines().filter_map(profile).collect())
    }

    /// The directories of a profile's children and their children. Reads only directory names.
    ///
    /// # Errors
    /// If the kernel's files cannot be read.
    pub fn children(&self, directory: &str) -> Result<Vec<String>> {
        let inside = self.profiles().join(directory).join(CHILDREN);
        let mut children = Vec::new();
        let entries = match fs::read_dir(&inside) {
            Ok(entries) => entries,
            // A profile without children has no such directory.
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

    /// The full name of the profile in this directory; `None` if it is no longer loaded.
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apparmor::kernel::securityfs::tests::sys;

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
        assert!(kernel.list().unwrap().is_empty());
        let list = "p (enforce)\np//null-/bin/a (b) (complain)\nmalformed\n";
        fs::write(kernel.securityfs.join("profiles"), list).unwrap();
        let listed = [("p", Mode::Enforce), ("p//null-/bin/a (b)", Mode::Complain)];
        assert_eq!(
            kernel.list().unwrap(),
            listed.map(|(name, mode)| (name.to_owned(), mode))
        );
    }
}

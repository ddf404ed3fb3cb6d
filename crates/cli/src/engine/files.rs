//! Which files an engine reads, and in which order.

use std::path::{Path, PathBuf};

use crate::engine::layout::{Way, read_by_it};
use crate::engine::place::Place;
use crate::engine::seen::Seen;
use crate::engine::{Engine, Text, containerd, crio, docker, podman};
use oci_apparmor::error::Result;

/// More files than any engine imports.
const MAX_FILES: usize = 64;

/// An engine's files, in the order in which it reads them.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) read: Vec<Text>,
    /// What the first of them is made from, where it is not changed itself.
    pub(super) template: Option<Text>,
    /// Those that lie where others are read, and are not.
    pub(super) strays: Vec<Text>,
}

impl Files {
    /// The files of an engine whose configuration is `main`.
    pub(super) fn gather(engine: Engine, place: &Place, main: &Path) -> Result<Self> {
        let mut files = Self::default();
        let beside = main.parent().unwrap_or(Path::new("/"));
        let above = beside.parent().unwrap_or(Path::new("/"));
        match engine {
            Engine::Docker => files.read.extend(place.read(main)?),
            Engine::Containerd => {
                files.read.extend(place.read(&read_by_it(main))?);
                match Way::of(main) {
                    // MicroK8s' is TOML, so it is read as if it were what is made from it.
                    Way::File => files.read = place.read(main)?.into_iter().collect(),
                    Way::Template => files.template = place.read(main)?,
                    Way::DropIn => {}
                }
                import_all(place, &mut files.read)?;
                // k0s before 1.36 merges its drop-ins into one file, and imports that.
                let dropins = match Way::of(main) {
                    Way::DropIn => place.list(beside),
                    _ => Vec::new(),
                };
                for path in dropins.into_iter().take(MAX_FILES) {
                    let is_toml = path.extension().is_some_and(|e| e == "toml");
                    if is_toml && files.get(&path).is_none() {
                        files.read.extend(place.read(&path)?);
                    }
                }
                for path in place.list(&beside.join("conf.d")) {
                    let is_toml = path.extension().is_some_and(|e| e == "toml");
                    if is_toml && files.get(&path).is_none() {
                        files.strays.extend(place.read(&path)?);
                    }
                }
            }
            Engine::Crio => {
                files.read.extend(place.read(&above.join("crio.conf"))?);
                for path in place.list(beside).into_iter().take(MAX_FILES) {
                    files.read.extend(place.read(&path)?);
                }
            }
            Engine::Podman => {
                files
                    .read
                    .extend(place.read(Path::new("/usr/share/containers/containers.conf"))?);
                files
                    .read
                    .extend(place.read(&above.join("containers.conf"))?);
                for path in place.list(beside).into_iter().take(MAX_FILES) {
                    let list = match path.extension().is_some_and(|e| e == "conf") {
                        true => &mut files.read,
                        false => &mut files.strays,
                    };
                    list.extend(place.read(&path)?);
                }
            }
        }
        Ok(files)
    }

    pub(super) fn get(&self, path: &Path) -> Option<&Text> {
        let mut all = self.read.iter().chain(&self.template);
        all.find(|file| file.path == path)
    }

    /// The files once a path has this text, or none.
    pub(super) fn with(&self, engine: Engine, path: &Path, text: Option<&str>) -> Vec<Text> {
        let mut files = self.read.clone();
        if engine == Engine::Containerd && Way::of(path) == Way::Template {
            // What is made from it is as it is until the next start.
            return files;
        }
        let new = text.map(|text| Text {
            path: path.to_owned(),
            text: text.to_owned(),
        });
        match (files.iter().position(|file| file.path == path), new) {
            (Some(at), Some(new)) => {
                if let Some(file) = files.get_mut(at) {
                    *file = new;
                }
            }
            (Some(at), None) => {
                files.remove(at);
            }
            (None, Some(new)) => {
                // containerd's and docker's own file comes first; drop-ins by name behind theirs.
                let dropin = engine.takes_a_drop_in(path);
                let behind =
                    |file: &Text| file.path.parent() == path.parent() && file.path.as_path() > path;
                let at = match dropin {
                    true => files.iter().position(behind).unwrap_or(files.len()),
                    false => 0,
                };
                files.insert(at, new);
            }
            (None, None) => {}
        }
        files
    }
}

/// Adds what these files of containerd import, and what that imports.
fn import_all(place: &Place, files: &mut Vec<Text>) -> Result<()> {
    let mut at = 0;
    while let Some(file) = files.get(at).cloned() {
        for path in imported(place, &file)? {
            if files.len() < MAX_FILES && !files.iter().any(|file| file.path == path) {
                files.extend(place.read(&path)?);
            }
        }
        at = at.saturating_add(1);
    }
    Ok(())
}

/// What one of containerd's files imports, as it is written there.
pub(super) fn imports_of(file: &Text) -> Result<Vec<String>> {
    containerd::imports(file)
}

/// The files that one of containerd's imports: paths with `*` in their last part, absolute or
/// below the file's directory.
fn imported(place: &Place, file: &Text) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for import in containerd::imports(file)? {
        let path = file.path.parent().unwrap_or(Path::new("/")).join(&import);
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            continue;
        };
        let name = name.to_string_lossy();
        match glob::Pattern::new(&name) {
            Ok(pattern) if name.contains(['*', '?', '[']) => {
                let fits = |p: &PathBuf| {
                    p.file_name()
                        .is_some_and(|n| pattern.matches(&n.to_string_lossy()))
                };
                found.extend(place.list(directory).into_iter().filter(fits));
            }
            _ => found.push(path),
        }
    }
    Ok(found)
}

/// The text of a file of containerd's that may lie elsewhere: what it imports is named by absolute
/// paths, and `other` by another path, which it may not import yet.
pub(super) fn relocated(
    place: &Place,
    file: &Text,
    other: Option<(&Path, PathBuf)>,
) -> Result<String> {
    let mut imports = imported(place, file)?;
    if imports.is_empty() && other.is_none() {
        return Ok(file.text.clone());
    }
    if let Some((path, instead)) = other {
        match imports.iter_mut().find(|import| *import == path) {
            Some(import) => *import = instead,
            None => imports.push(instead),
        }
    }
    containerd::importing(file, &imports)
}

/// What the files of an engine whose configuration is `main` say; `ours` knows our programs by
/// their paths.
///
/// # Errors
/// Where they cannot be read.
pub fn look(
    engine: Engine,
    place: &Place,
    main: &Path,
    ours: &dyn Fn(&str) -> bool,
) -> Result<Seen> {
    let files = Files::gather(engine, place, main)?;
    inspect(engine, &files.read, &files.strays, ours)
}

/// What is written in the file that `configure` changes or makes: of a template, whatever is made
/// from it.
///
/// # Errors
/// As for [`look`].
pub fn written(
    engine: Engine,
    place: &Place,
    main: &Path,
    ours: &dyn Fn(&str) -> bool,
) -> Result<Seen> {
    let files = Files::gather(engine, place, main)?;
    match &files.template {
        Some(template) => Ok(containerd::added::seen(template)),
        None => inspect(engine, &files.read, &files.strays, ours),
    }
}

/// What containerd reads in `main`, whatever that is made from.
///
/// # Errors
/// As for [`look`].
pub fn look_at(place: &Place, main: &Path, ours: &dyn Fn(&str) -> bool) -> Result<Seen> {
    let mut read: Vec<Text> = place.read(main)?.into_iter().collect();
    import_all(place, &mut read)?;
    inspect(Engine::Containerd, &read, &[], ours)
}

pub(super) fn inspect(
    engine: Engine,
    files: &[Text],
    strays: &[Text],
    ours: &dyn Fn(&str) -> bool,
) -> Result<Seen> {
    match engine {
        Engine::Containerd => containerd::seen(files, strays, ours),
        Engine::Crio => crio::seen(files, ours),
        Engine::Podman => podman::seen(files, strays, ours),
        Engine::Docker => docker::seen(files.first(), ours),
    }
}

//! Which files an engine reads, and in which order.

use std::path::Path;

use crate::engine::config_kind::{ConfigKind, main_file};
use crate::engine::edit::TextFile;
use crate::engine::imports::{self, MAX_FILES};
use crate::engine::kind::Engine;
use crate::engine::root::NodeRoot;
use oci_apparmor::error::Result;

/// An engine's files, in the order in which it reads them.
#[derive(Debug, Default)]
pub(crate) struct ConfigFiles {
    pub(crate) read: Vec<TextFile>,
    /// The template that the first of them is rendered from, where that is the file to change.
    pub(crate) template: Option<TextFile>,
    /// Files that stand beside the others, and that the engine does not read.
    pub(crate) ignored: Vec<TextFile>,
}

impl ConfigFiles {
    /// The files of an engine; `configure` changes or creates the one at `main`.
    pub(crate) fn gather(engine: Engine, root: &NodeRoot, main: &Path) -> Result<Self> {
        let directory = main.parent().unwrap_or(Path::new("/"));
        let above = directory.parent().unwrap_or(Path::new("/"));
        let mut files = Self::default();
        match engine {
            Engine::Docker => files.read.extend(root.read(main)?),
            Engine::Containerd => files.gather_containerd(root, main, directory)?,
            Engine::Crio => {
                files.read.extend(root.read(&above.join("crio.conf"))?);
                for path in root.list(directory).into_iter().take(MAX_FILES) {
                    files.read.extend(root.read(&path)?);
                }
            }
            Engine::Podman => {
                let distributed = Path::new("/usr/share/containers/containers.conf");
                files.read.extend(root.read(distributed)?);
                files
                    .read
                    .extend(root.read(&above.join("containers.conf"))?);
                for path in root.list(directory).into_iter().take(MAX_FILES) {
                    let list = match path.extension().is_some_and(|e| e == "conf") {
                        true => &mut files.read,
                        false => &mut files.ignored,
                    };
                    list.extend(root.read(&path)?);
                }
            }
        }
        Ok(files)
    }

    fn gather_containerd(&mut self, root: &NodeRoot, main: &Path, directory: &Path) -> Result<()> {
        self.read.extend(root.read(&main_file(main))?);
        match ConfigKind::of(main) {
            // MicroK8s' template is TOML, so it is read instead of the file that is rendered
            // from it.
            ConfigKind::Main => self.read = root.read(main)?.into_iter().collect(),
            ConfigKind::Template => self.template = root.read(main)?,
            ConfigKind::DropIn => {}
        }
        imports::append(root, &mut self.read)?;
        // k0s before 1.36 merges its drop-ins into one file, and imports that.
        let drop_ins = match ConfigKind::of(main) {
            ConfigKind::DropIn => root.list(directory),
            _ => Vec::new(),
        };
        for path in drop_ins.into_iter().take(MAX_FILES) {
            if is_toml(&path) && self.get(&path).is_none() {
                self.read.extend(root.read(&path)?);
            }
        }
        for path in root.list(&directory.join("conf.d")) {
            if is_toml(&path) && self.get(&path).is_none() {
                self.ignored.extend(root.read(&path)?);
            }
        }
        Ok(())
    }

    pub(crate) fn get(&self, path: &Path) -> Option<&TextFile> {
        let mut all = self.read.iter().chain(&self.template);
        all.find(|file| file.path == path)
    }

    /// The files that the engine reads once the one at `path` has this text, or is removed.
    pub(crate) fn with(&self, engine: Engine, path: &Path, text: Option<&str>) -> Vec<TextFile> {
        let mut files = self.read.clone();
        if engine == Engine::Containerd && ConfigKind::of(path) == ConfigKind::Template {
            // The rendered file stays as it is until the next start.
            return files;
        }
        let new = text.map(|text| TextFile {
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
                // The main file of containerd or docker comes first; drop-ins are read in the
                // order of their names, after it.
                let after = |file: &TextFile| {
                    file.path.parent() == path.parent() && file.path.as_path() > path
                };
                let at = match engine.takes_a_drop_in(path) {
                    true => files.iter().position(after).unwrap_or(files.len()),
                    false => 0,
                };
                files.insert(at, new);
            }
            (None, None) => {}
        }
        files
    }
}

fn is_toml(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "toml")
}

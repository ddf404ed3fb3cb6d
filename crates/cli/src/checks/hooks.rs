//! Hooks that call oci-apparmor-hook, in the directories that engines read.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::checks::finding::{ENGINES, Finding};
use crate::engine::kind::Engine;
use oci_apparmor::error::{Kind, quoted};
use oci_apparmor::fs::bounded;
use oci_apparmor::fs::trusted::{self, TrustError};

/// What our programs and annotations have in common.
const OURS: &str = "oci-apparmor";

/// A stage that only podman knows.
const PRECREATE: &str = "precreate";

/// What `podman build` reads as root, whatever `containers.conf` says (`setupOCIHooks` in buildah).
/// Like CRI-O, it refuses the stage `precreate`.
const OF_BUILDS: [&str; 2] = [
    "/usr/share/containers/oci/hooks.d",
    "/etc/containers/oci/hooks.d",
];

/// A hook's file is a few hundred bytes.
const MAX_FILE: u64 = 1 << 20;

/// Directories, with the engines that read them.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    directories: Vec<(Engine, PathBuf)>,
}

impl Hooks {
    /// Adds the directories that an engine reads; returns whether one of them has hooks of ours.
    pub(crate) fn read(&mut self, engine: Engine, directories: &[PathBuf]) -> bool {
        let new = directories.iter().map(|d| (engine, d.clone()));
        self.directories.extend(new);
        directories.iter().any(|d| !ours(d).is_empty())
    }

    /// What is wrong with hooks of ours.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let builds = OF_BUILDS.map(PathBuf::from);
        let mut all: Vec<&PathBuf> = self.directories.iter().map(|(_, d)| d).collect();
        all.extend(&builds);
        all.sort();
        all.dedup();
        let mut found = Vec::new();
        for directory in all {
            let read_by = |engine| {
                let mut readers = self.directories.iter();
                readers.any(|(e, d)| *e == engine && d == directory)
            };
            let alone = !builds.contains(directory) && !read_by(Engine::Crio);
            found.extend(
                ours(directory)
                    .iter()
                    .filter_map(|(file, text)| judge(file, text, alone)),
            );
        }
        found
    }
}

/// What is wrong with a file; `alone`: only podman reads it.
fn judge(file: &Path, text: &str, alone: bool) -> Option<Finding> {
    let failure = |text: String, remedy: &str| {
        Some(Finding::failure(
            ENGINES,
            Kind::Configuration,
            format!("{} {text}", file.display()),
            remedy,
        ))
    };
    let Ok(hook) = serde_json::from_str::<Value>(text) else {
        return failure(
            "is not JSON, so engines start no container".to_owned(),
            "install it again; see hooks/README.md",
        );
    };
    let mut stages = hook.get("stages").and_then(Value::as_array).into_iter();
    let precreate = stages.any(|stages| stages.iter().any(|stage| stage == PRECREATE));
    if precreate && !alone {
        return failure(
            format!("names the stage {PRECREATE}, which CRI-O and podman build refuse"),
            "move it to a directory that only podman reads; see podman run --hooks-dir",
        );
    }
    let program = hook.pointer("/hook/path").and_then(Value::as_str);
    let program = program.unwrap_or_default();
    let why = match trusted::program(Path::new(program)) {
        Ok(_) => return None,
        Err(TrustError::Missing) => {
            "does not exist: podman ignores the hook without a message, and starts containers \
             without their profile"
                .to_owned()
        }
        Err(TrustError::Untrusted(why)) => format!("is not trusted: {why}"),
        Err(TrustError::Io(e)) => format!("cannot be read: {}", oci_apparmor::error::reason(&e)),
    };
    failure(
        format!("names the program {}, which {why}", quoted(program)),
        "install it with ./install.sh, or remove the file",
    )
}

/// The hooks of ours in a directory, with their text, in the order in which they are read.
fn ours(directory: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    // Engines read only these.
    files.retain(|f| f.extension().is_some_and(|e| e == "json") && f.is_file());
    files.sort();
    let text = |file: &PathBuf| {
        let bytes = bounded::read(&File::open(file).ok()?, MAX_FILE).ok()??;
        String::from_utf8(bytes).ok()
    };
    let texts = files.into_iter().filter_map(|f| Some((text(&f)?, f)));
    let texts = texts.filter(|(text, _)| text.contains(OURS));
    texts.map(|(text, file)| (file, text)).collect()
}

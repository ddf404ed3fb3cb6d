//! Finding the low-level runtime: an absolute path that only root can have written.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::fs::trusted::{self, TrustError};
use crate::runtime::marker;
use crate::settings::{self, RuntimeKind, RuntimeSettings};

/// A low-level runtime on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Which one.
    pub kind: RuntimeKind,
    /// Its program.
    pub program: PathBuf,
}

/// The low-level runtime that a call by the name `argv0` stands for.
///
/// # Errors
/// [`Kind::NotFound`] where there is none; [`Kind::Configuration`] where it is this program.
pub fn locate(argv0: &OsStr, settings: &RuntimeSettings) -> Result<Located> {
    match meant(argv0, settings) {
        Some(kind) => program(kind, settings)?.ok_or_else(|| missing(kind.name(), settings)),
        None => {
            for kind in RuntimeKind::ALL {
                if let Some(located) = program(kind, settings)? {
                    return Ok(located);
                }
            }
            Err(missing("runc, crun or youki", settings))
        }
    }
}

/// The low-level runtime that a call by the name `argv0` means, where one is named.
#[must_use]
pub fn meant(argv0: &OsStr, settings: &RuntimeSettings) -> Option<RuntimeKind> {
    let name = Path::new(argv0).file_name().and_then(OsStr::to_str);
    name.and_then(RuntimeKind::named).or(settings.default)
}

/// The program of one low-level runtime, if this node has it.
///
/// # Errors
/// Where the configured one cannot be used.
pub fn program(kind: RuntimeKind, settings: &RuntimeSettings) -> Result<Option<Located>> {
    let located = |program| Located { kind, program };
    if let Some(path) = settings.program(kind) {
        let program = trusted::program(path).map_err(|refusal| {
            let exit = match refusal {
                TrustError::Missing => Kind::NotFound,
                _ => Kind::Configuration,
            };
            refusal
                .about(path, exit)
                .with_remedy(format!("correct runtimes.{}", kind.name()))
        })?;
        if marker::is_ours(&program) {
            return Err(Error::new(
                Kind::Configuration,
                format!(
                    "runtimes.{} is {}, which is oci-apparmor itself",
                    kind.name(),
                    path.display()
                ),
            )
            .with_remedy("name the real runtime there"));
        }
        return Ok(Some(located(program)));
    }
    for directory in &settings.directories {
        // A link of that name to this program, or somebody's file, is not the runtime.
        if let Ok(program) = trusted::program(&directory.as_path().join(kind.name()))
            && !marker::is_ours(&program)
        {
            return Ok(Some(located(program)));
        }
    }
    Ok(None)
}

/// The other programs that a call by the name `argv0` could stand for: of each kind that it may
/// mean, those that lie in the directories where they are looked for. Usually there is none.
#[must_use]
pub fn others(found: &Located, argv0: &OsStr, settings: &RuntimeSettings) -> Vec<Located> {
    let kinds = match meant(argv0, settings) {
        Some(kind) => vec![kind],
        None => RuntimeKind::ALL.to_vec(),
    };
    let mut all: Vec<Located> = Vec::new();
    for kind in kinds {
        let places: Vec<PathBuf> = match settings.program(kind) {
            Some(path) => vec![path.to_owned()],
            None => {
                let directories = settings.directories.iter().map(|d| d.as_path());
                directories.map(|d| d.join(kind.name())).collect()
            }
        };
        for path in places {
            // One look tells where there is nothing.
            if path != found.program
                && let Ok(true) = path.try_exists()
                && let Ok(program) = trusted::program(&path)
                && program != found.program
                && !all.iter().any(|other| other.program == program)
                && !marker::is_ours(&program)
            {
                all.push(Located { kind, program });
            }
        }
    }
    all
}

fn missing(what: &str, settings: &RuntimeSettings) -> Error {
    let untrusted = settings.directories.iter().find_map(|directory| {
        RuntimeKind::ALL.iter().find_map(|kind| {
            let path = directory.as_path().join(kind.name());
            match (what.contains(kind.name()), trusted::program(&path)) {
                (true, Err(TrustError::Untrusted(why))) => {
                    Some(format!("; {} is not trusted: {why}", path.display()))
                }
                _ => None,
            }
        })
    });
    Error::new(
        Kind::NotFound,
        format!(
            "{what} is not found as a program of root in {}{}",
            settings::listed(&settings.directories),
            untrusted.unwrap_or_default()
        ),
    )
    .with_remedy(
        "install it, or set its path in the section [runtimes] of /etc/oci-apparmor/config.toml",
    )
}

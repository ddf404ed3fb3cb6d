//! Finds the program of the low-level runtime: an absolute path that only root can have written.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::containers::record::ContainerKey;
use crate::error::{Error, Kind, Result};
use crate::fs::trusted::{self, CheckedDirectories, TrustError};
use crate::runtime::own_binary;
use crate::settings::{self, RuntimeKind, RuntimeSettings};

const CONFIG: &str = "/etc/oci-apparmor/config.toml";

/// The program of a low-level runtime on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeProgram {
    /// Which runtime it is.
    pub kind: RuntimeKind,
    /// Its path.
    pub program: PathBuf,
}

impl RuntimeProgram {
    /// The command with which a person deletes a container by force.
    pub(super) fn delete_command(&self, container: ContainerKey<'_>) -> String {
        format!(
            "{} --root={} delete --force {}",
            self.program.display(),
            container.root.display(),
            container.id
        )
    }
}

/// The low-level runtime for a call by the name `argv0`.
///
/// # Errors
/// [`Kind::NotFound`] if there is none, [`Kind::Configuration`] if the configured one is this program.
pub fn locate(argv0: &OsStr, settings: &RuntimeSettings) -> Result<RuntimeProgram> {
    locate_with(argv0, settings, &mut CheckedDirectories::default())
}

/// Like [`locate`], without checking a directory in `checked` again.
///
/// # Errors
/// As for [`locate`].
pub(super) fn locate_with(
    argv0: &OsStr,
    settings: &RuntimeSettings,
    checked: &mut CheckedDirectories,
) -> Result<RuntimeProgram> {
    match named(argv0, settings) {
        Some(kind) => {
            program_with(kind, settings, checked)?.ok_or_else(|| missing(kind.name(), settings))
        }
        None => {
            for kind in RuntimeKind::ALL {
                if let Some(found) = program_with(kind, settings, checked)? {
                    return Ok(found);
                }
            }
            Err(missing("runc, crun or youki", settings))
        }
    }
}

/// The kind of runtime that the name `argv0` or the configuration names; `None` if neither does.
#[must_use]
pub(super) fn named(argv0: &OsStr, settings: &RuntimeSettings) -> Option<RuntimeKind> {
    let name = Path::new(argv0).file_name().and_then(OsStr::to_str);
    name.and_then(RuntimeKind::named).or(settings.default)
}

/// The program of one kind of runtime, if this node has it.
///
/// # Errors
/// If the configured program cannot be used.
pub fn program(kind: RuntimeKind, settings: &RuntimeSettings) -> Result<Option<RuntimeProgram>> {
    program_with(kind, settings, &mut CheckedDirectories::default())
}

fn program_with(
    kind: RuntimeKind,
    settings: &RuntimeSettings,
    checked: &mut CheckedDirectories,
) -> Result<Option<RuntimeProgram>> {
    let found = |program| RuntimeProgram { kind, program };
    if let Some(path) = settings.program(kind) {
        let resolved = trusted::program_with_metadata(path, checked);
        let (program, meta) = resolved.map_err(|refusal| {
            let exit = match refusal {
                TrustError::Missing => Kind::NotFound,
                _ => Kind::Configuration,
            };
            refusal
                .about(path, exit)
                .or_remedy(format!("correct runtimes.{} in {CONFIG}", kind.name()))
        })?;
        if own_binary::is_own(&program, &meta) {
            return Err(Error::new(
                Kind::Configuration,
                format!(
                    "runtimes.{} is {}, which is oci-apparmor itself",
                    kind.name(),
                    path.display()
                ),
            )
            .with_remedy(format!(
                "set it to the path of the real {} in {CONFIG}",
                kind.name()
            )));
        }
        return Ok(Some(found(program)));
    }
    for directory in &settings.directories {
        // A link to this program, or a file that others can write, is not the runtime.
        let path = directory.as_path().join(kind.name());
        if let Ok((program, meta)) = trusted::program_with_metadata(&path, checked)
            && !own_binary::is_own(&program, &meta)
        {
            return Ok(Some(found(program)));
        }
    }
    Ok(None)
}

/// The other programs that could be used for a call by the name `argv0`, of all kinds that it may
/// stand for. Usually there are none.
#[must_use]
pub(super) fn others(
    found: &RuntimeProgram,
    argv0: &OsStr,
    settings: &RuntimeSettings,
) -> Vec<RuntimeProgram> {
    let kinds = match named(argv0, settings) {
        Some(kind) => vec![kind],
        None => RuntimeKind::ALL.to_vec(),
    };
    let mut all: Vec<RuntimeProgram> = Vec::new();
    let mut checked = CheckedDirectories::default();
    for kind in kinds {
        let paths: Vec<PathBuf> = match settings.program(kind) {
            Some(path) => vec![path.to_owned()],
            None => {
                let directories = settings.directories.iter().map(|d| d.as_path());
                directories.map(|d| d.join(kind.name())).collect()
            }
        };
        for path in paths {
            // Usually the file does not exist, and this one system call is enough.
            if path != found.program
                && let Ok(true) = path.try_exists()
                && let Ok((program, meta)) = trusted::program_with_metadata(&path, &mut checked)
                && program != found.program
                && !all.iter().any(|other| other.program == program)
                && !own_binary::is_own(&program, &meta)
            {
                all.push(RuntimeProgram { kind, program });
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
                (true, Err(TrustError::Untrusted(why))) => Some((path, why)),
                _ => None,
            }
        })
    });
    let why = format!(
        "no root-owned {what} in {}",
        settings::listed(&settings.directories)
    );
    let install = format!("install it, or set its path in the section [runtimes] of {CONFIG}");
    match untrusted {
        None => Error::new(Kind::NotFound, why).with_remedy(install),
        Some((path, distrust)) => {
            let why = format!("{why}: {} is not trusted: {distrust}", path.display());
            let remedy = distrust.remedy().map_or(install, str::to_owned);
            Error::new(Kind::NotFound, why).with_remedy(remedy)
        }
    }
}

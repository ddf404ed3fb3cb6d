//! Installing on a node. Everything that can be refused is refused before anything is written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::{FsFlags, statvfs};

use crate::engine::root::NodeRoot;
use crate::node::files::{self, CONFIG, IfEdited, InstalledEntry, Layout, Programs};
use crate::node::lock::NodeLock;
use crate::node::placed;
use crate::node::record::InstallRecord;
use crate::node::restart;
use crate::node::serve::{InstallRequest, Installed, wire};
use crate::node::wiring::NodeEngine;
use crate::node::write::write;
use crate::report::output::Output;
use oci_apparmor::child::{self, Limits};
use oci_apparmor::error::{Error, Kind, Result, foreign};

/// What is installed below, unless the caller or the record says otherwise.
const PREFIX: &str = "/usr/local";

/// The same where `/usr` cannot be written.
const OTHER_PREFIX: &str = "/opt/oci-apparmor";

const LIMITS: Limits = Limits {
    time: Duration::from_secs(30),
    memory: 64 << 30,
};

/// Installs, or continues what was begun.
///
/// # Errors
/// If it is refused, with nothing changed; if something cannot be written, or taken back.
pub(crate) fn install(
    root: &NodeRoot,
    programs: Programs,
    request: &InstallRequest,
    output: Output,
) -> Result<Installed> {
    restart::possible(root, request.restart)?;
    let _lock = NodeLock::take(root)?;
    let found = InstallRecord::load(root)?;
    let prefix = prefix(root, request, found.as_ref(), output)?;
    let layout = Layout::new(&prefix);
    let engine = NodeEngine::find(root, request.engine, request.distribution)?;
    same_engine(found.as_ref(), &engine)?;
    let record = found.unwrap_or_else(|| InstallRecord::new(&prefix));
    let mut entries = layout.entries(programs);
    // An administrator's file, even if it was never edited.
    if placed::found(root, Path::new(CONFIG))?.is_none() {
        entries.push(files::config());
    }
    let mut known: BTreeSet<PathBuf> = entries.iter().map(|entry| entry.path.clone()).collect();
    known.insert(PathBuf::from(CONFIG));
    let todo = compared(root, &record, entries, output)?;
    // Only to refuse: it is planned again when the programs are there.
    engine.change(root, &layout.libexec(), request.default)?;
    let record = write(root, &known, record, todo, output)?;
    verify(root, &layout)?;
    wire(root, &layout, record, &engine, request, output)
}

fn prefix(
    root: &NodeRoot,
    request: &InstallRequest,
    record: Option<&InstallRecord>,
    output: Output,
) -> Result<PathBuf> {
    let given = request.prefix.as_deref();
    if let Some(given) = given {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
        if !given.is_absolute() || !given.to_string_lossy().chars().all(plain) {
            return Err(Error::new(
                Kind::Usage,
                format!(
                    "--prefix must be an absolute path of plain characters, not {}",
                    given.display()
                ),
            )
            .with_remedy("give --prefix /opt/oci-apparmor, for example; nothing was changed"));
        }
    }
    match (record, given) {
        (Some(record), Some(given)) if record.prefix != given => Err(Error::new(
            Kind::Policy,
            format!("it is installed below {}", record.prefix.display()),
        )
        .with_remedy(format!(
            "give --prefix {}, or run: oci-apparmor node uninstall; nothing was changed",
            record.prefix.display()
        ))),
        (Some(record), _) => Ok(record.prefix.clone()),
        (None, Some(given)) => Ok(given.to_owned()),
        (None, None) => {
            let there = placed::existing(root, Path::new(PREFIX));
            let read_only = statvfs(&there).is_ok_and(|at| at.flags().contains(FsFlags::ST_RDONLY));
            if read_only {
                output.line(format!(
                    "{PREFIX} cannot be written here, so {OTHER_PREFIX} is used"
                ))?;
            }
            Ok(PathBuf::from(if read_only { OTHER_PREFIX } else { PREFIX }))
        }
    }
}

/// One node has one engine for Kubernetes: the former one must be taken back first.
fn same_engine(record: Option<&InstallRecord>, engine: &NodeEngine) -> Result<()> {
    let wired = record.and_then(|record| record.engine.as_ref());
    match wired {
        Some(wired) if wired.name != engine.engine.name() => Err(Error::new(
            Kind::Policy,
            format!("{} is configured on this node", wired.name),
        )
        .with_remedy("run: oci-apparmor node uninstall; nothing was changed")),
        _ => Ok(()),
    }
}

/// The entries that are to be written. What is there and not ours is refused.
fn compared(
    root: &NodeRoot,
    record: &InstallRecord,
    entries: Vec<InstalledEntry>,
    output: Output,
) -> Result<Vec<(InstalledEntry, Option<String>)>> {
    let mut todo = Vec::new();
    for entry in entries {
        let found = placed::found(root, &entry.path)?;
        let wanted = placed::name(&entry.content);
        let same = found.as_ref() == Some(&wanted);
        if same && placed::has_mode(root, &entry.path, &entry.content)? {
            // Ours, or there before: then it is not recorded, and stays.
            let ours = record.entries.contains_key(&entry.path);
            todo.extend(ours.then_some((entry, found)));
            continue;
        }
        match found {
            None => todo.push((entry, None)),
            Some(found) if same || record.has(&entry.path, &found) => {
                todo.push((entry, Some(found)))
            }
            Some(found) if record.entries.contains_key(&entry.path) => match entry.edited {
                IfEdited::Replaced => todo.push((entry, Some(found))),
                IfEdited::Kept => output.line(format!(
                    "kept {}, which was changed since it was installed",
                    root.on_host(&entry.path).display()
                ))?,
            },
            Some(_) => {
                return Err(Error::new(
                    Kind::Policy,
                    format!(
                        "{} exists, and `oci-apparmor node install` did not write it",
                        root.on_host(&entry.path).display()
                    ),
                )
                .with_remedy(
                    "remove what installed it (./install.sh --uninstall, or the package), or give \
                     another --prefix; nothing was changed",
                ));
            }
        }
    }
    Ok(todo)
}

/// Runs the installed program, before any engine may call the wrapper beside it: its file system may
/// forbid that, and the program may be for another architecture.
fn verify(root: &NodeRoot, layout: &Layout) -> Result<()> {
    if !root.is_node() {
        return Ok(());
    }
    let program = layout.program();
    let failed = |why: &str| {
        Error::new(
            Kind::Internal,
            format!("{} does not run: {}", program.display(), foreign(why)),
        )
        .with_remedy(
            "give --prefix a file system without noexec, and programs of this architecture; no \
             engine was configured",
        )
    };
    match child::run(&program, &["--version"], b"", LIMITS) {
        Ok(said) => {
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            match said
                .split_whitespace()
                .any(|word| word == env!("CARGO_PKG_VERSION"))
            {
                true => Ok(()),
                false => Err(failed(&format!("it says {said}"))),
            }
        }
        Err(e) => Err(failed(&Error::from(e).to_string())),
    }
}

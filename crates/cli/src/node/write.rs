//! Writes what is to be installed, and the record before it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use crate::engine::journal::DIRECTORY;
use crate::engine::root::NodeRoot;
use crate::node::files::{InstalledEntry, STARTED};
use crate::node::placed;
use crate::node::record::InstallRecord;
use crate::node::restart;
use crate::report::output::Output;
use oci_apparmor::error::{Error, Result};

/// The state of a node, below `/var`: the directory, its mode, and whether it is the agent's.
const STATE: [(&str, u32, bool); 3] = [
    ("/var/lib/oci-apparmor", 0o755, false),
    ("/var/lib/oci-apparmor/spool", 0o750, true),
    ("/var/lib/oci-apparmor/status", 0o755, false),
];

/// The user of the agent.
const AGENT: u32 = 65532;

/// Writes the entries, and the record before them.
pub(super) fn write(
    root: &NodeRoot,
    known: &BTreeSet<PathBuf>,
    mut record: InstallRecord,
    todo: Vec<(InstalledEntry, Option<String>)>,
    output: Output,
) -> Result<InstallRecord> {
    // Always, because a run that was killed may have made it. It goes only if it is empty.
    let own = PathBuf::from("/etc/oci-apparmor");
    if !record.directories.contains(&own) {
        record.directories.insert(0, own);
    }
    let paths = todo.iter().map(|(entry, _)| entry.path.as_path());
    let states = STATE.iter().map(|(path, ..)| Path::new(path));
    for path in paths.chain(states) {
        let above: Vec<&Path> = path.ancestors().skip(1).collect();
        for directory in above.into_iter().rev() {
            let known = record.directories.iter().any(|known| known == directory);
            if !known && !root.has(directory) {
                record.directories.push(directory.to_owned());
            }
        }
    }
    for (path, ..) in STATE {
        let path = PathBuf::from(path);
        if !record.directories.contains(&path) && !root.has(&path) {
            record.directories.push(path);
        }
    }
    let finished = record.is_finished(env!("CARGO_PKG_VERSION"));
    for (entry, found) in &todo {
        record.add(&entry.path, placed::name(&entry.content));
        // What is replaced is ours as well, so that it goes if this process is killed now.
        if let Some(found) = found {
            record.add(&entry.path, found.clone());
        }
    }
    record.store(root)?;
    placed::sweep_all(root, Path::new("/etc/oci-apparmor"))?;
    placed::sweep_all(root, Path::new(DIRECTORY))?;
    let mut written = 0usize;
    for (entry, found) in &todo {
        placed::sweep(root, &entry.path)?;
        let wanted = placed::name(&entry.content);
        let same = found.as_ref() == Some(&wanted);
        if !same || !placed::has_mode(root, &entry.path, &entry.content)? {
            placed::put(root, &entry.path, &entry.content)?;
            written = written.saturating_add(1);
            output.line(format!("installed {}", root.on_host(&entry.path).display()))?;
        }
    }
    for (entry, _) in &todo {
        let wanted = placed::name(&entry.content);
        record.entries.insert(entry.path.clone(), vec![wanted]);
    }
    drop(todo);
    written = written.saturating_add(obsolete(root, known, &mut record, output)?);
    for (path, mode, agents) in STATE {
        state(root, Path::new(path), mode, agents)?;
    }
    if written != 0 || !finished {
        // The engine does not need them, and the next boot starts them in any case.
        if let Err(e) = restart::units(root, "start", &STARTED) {
            output.line(format!("note: {e}"))?;
        }
    }
    env!("CARGO_PKG_VERSION").clone_into(&mut record.release);
    record.store(root)?;
    if written == 0 {
        output.line(format!("release {} is installed already", record.release))?;
    }
    Ok(record)
}

/// Removes what an earlier release had and this one has not; how much that is.
fn obsolete(
    root: &NodeRoot,
    known: &BTreeSet<PathBuf>,
    record: &mut InstallRecord,
    output: Output,
) -> Result<usize> {
    let old = record.entries.keys().filter(|path| !known.contains(*path));
    let old: Vec<PathBuf> = old.cloned().collect();
    for path in &old {
        if placed::found(root, path)?.is_some_and(|found| record.has(path, &found)) {
            placed::take(root, path)?;
            output.line(format!("removed {}", root.on_host(path).display()))?;
        }
        record.entries.remove(path);
    }
    Ok(old.len())
}

/// A directory of the node's state. It may be there with other contents, which stay.
fn state(root: &NodeRoot, path: &Path, mode: u32, agents: bool) -> Result<()> {
    let there = root.entry(path)?.is_some_and(|real| real.is_dir());
    let real = match there {
        true => root.on_host(path),
        false => root.directory_at(path)?,
    };
    let failed = |e: std::io::Error| Error::io("prepare", &real, &e);
    let meta = fs::symlink_metadata(&real).map_err(failed)?;
    let uid = if agents { AGENT } else { 0 };
    // In an image that is made without root, the first boot has to do it.
    if nix::unistd::geteuid().is_root() && (meta.uid(), meta.gid()) != (uid, uid) {
        chown(&real, Some(uid), Some(uid)).map_err(failed)?;
    }
    if meta.mode() & 0o7777 != mode {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&real, permissions).map_err(failed)?;
    }
    Ok(())
}

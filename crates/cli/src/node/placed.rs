//! Entries of a node: files and links, each replaced in one step.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::engine::root::NodeRoot;
use crate::node::files::EntryContent;
use oci_apparmor::error::{Error, Result};
use oci_apparmor::fs::replace::{self, Options};
use oci_apparmor::fs::{digest, temporary};

/// What the record calls contents.
pub(super) fn name(content: &EntryContent) -> String {
    match content {
        EntryContent::File { bytes, .. } => {
            format!("sha256:{}", digest::hex(&Sha256::digest(bytes)))
        }
        EntryContent::Link(target) => format!("link:{}", target.display()),
    }
}

/// The contents of an entry now; `None` if it does not exist. What is neither a file nor a link has
/// a name that no record has.
///
/// # Errors
/// If it cannot be read, or if another user can replace it.
pub(super) fn found(root: &NodeRoot, path: &Path) -> Result<Option<String>> {
    let Some(real) = root.entry(path)? else {
        return Ok(None);
    };
    let failed = |e: io::Error| Error::io("read", &real, &e);
    let meta = match fs::symlink_metadata(&real) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    if meta.is_symlink() {
        let target = fs::read_link(&real).map_err(failed)?;
        return Ok(Some(format!("link:{}", target.display())));
    }
    if !meta.is_file() {
        return Ok(Some("other".to_owned()));
    }
    let mut file = File::open(&real).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            break;
        }
        hash.update(buffer.get(..count).unwrap_or_default());
    }
    Ok(Some(format!("sha256:{}", digest::hex(&hash.finalize()))))
}

/// Whether an entry has the mode that it should have.
pub(super) fn has_mode(root: &NodeRoot, path: &Path, content: &EntryContent) -> Result<bool> {
    let EntryContent::File { mode, .. } = content else {
        return Ok(true);
    };
    let real = root.entry(path)?;
    let meta = real.and_then(|real| fs::symlink_metadata(real).ok());
    Ok(meta.is_some_and(|meta| meta.mode() & 0o7777 == *mode))
}

/// Creates or replaces an entry: a program that runs keeps its file, and others see the old contents
/// or the new ones. What was written is read back.
///
/// # Errors
/// If it cannot be written; the old contents then stay.
pub(super) fn put(root: &NodeRoot, path: &Path, content: &EntryContent) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let directory = root.directory_at(parent)?;
    let file_name = path.file_name().unwrap_or_default();
    let real = directory.join(file_name);
    let named = file_name.to_string_lossy();
    let temporary = directory.join(format!(".{named}.{}", temporary::mark()));
    let done = match content {
        EntryContent::File { bytes, mode } => {
            let options = Options::with_mode(*mode).durable();
            replace::replace(&real, &temporary, bytes, options)
        }
        EntryContent::Link(target) => link(target, &temporary, &real),
    };
    done.map_err(|e| {
        Error::io("write", &real, &e).with_remedy("correct that, and run the command again")
    })?;
    if found(root, path)?.as_ref() != Some(&name(content)) {
        let e = io::Error::other("it has other contents than were written");
        return Err(
            Error::io("write", &real, &e).with_remedy("check the disk, and run the command again")
        );
    }
    Ok(())
}

fn link(target: &Path, temporary: &Path, real: &Path) -> io::Result<()> {
    match symlink(target, temporary) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(temporary)?;
            symlink(target, temporary)?;
        }
        other => other?,
    }
    fs::rename(temporary, real).inspect_err(|_| {
        // Best effort: the next attempt removes it as well.
        let _ = fs::remove_file(temporary);
    })
}

/// Removes an entry.
///
/// # Errors
/// If it cannot be removed.
pub(super) fn take(root: &NodeRoot, path: &Path) -> Result<()> {
    let Some(real) = root.entry(path)? else {
        return Ok(());
    };
    match fs::remove_file(&real) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &real, &e)),
        _ => Ok(()),
    }
}

/// Removes temporary files of an installer that was killed, beside an entry. The lock of the node is
/// held, so no other installer writes them now.
///
/// # Errors
/// If one cannot be removed.
pub(super) fn sweep(root: &NodeRoot, path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    sweep_in(root, path, |of| of == name)
}

/// The same for all entries of a directory that is ours.
///
/// # Errors
/// As for [`sweep`].
pub(super) fn sweep_all(root: &NodeRoot, directory: &Path) -> Result<()> {
    sweep_in(root, &directory.join("x"), |_| true)
}

fn sweep_in(root: &NodeRoot, path: &Path, is_ours: impl Fn(&str) -> bool) -> Result<()> {
    let Some(real) = root.entry(path)? else {
        return Ok(());
    };
    let entries = real.parent().map(fs::read_dir);
    for entry in entries.into_iter().flatten().flatten().flatten() {
        let file = entry.file_name();
        // `.NAME.MARK`
        let parts = file.to_str().and_then(|file| file.strip_prefix('.'));
        let Some((name, mark)) = parts.and_then(|rest| rest.rsplit_once('.')) else {
            continue;
        };
        if temporary::is_mark(mark) && is_ours(name) {
            let path = entry.path();
            fs::remove_file(&path).map_err(|e| Error::io("remove", &path, &e))?;
        }
    }
    Ok(())
}

/// Removes a directory if it is empty; whether it is. In a pod, directories that are mounted stay.
pub(super) fn take_directory(root: &NodeRoot, path: &Path) -> Result<bool> {
    let Some(real) = root.entry(path)? else {
        return Ok(true);
    };
    Ok(match fs::remove_dir(&real) {
        Ok(()) => true,
        Err(e) => e.kind() != io::ErrorKind::DirectoryNotEmpty,
    })
}

/// The last of the directories on the way to `path` that exists.
pub(super) fn existing(root: &NodeRoot, path: &Path) -> PathBuf {
    let exists = path.ancestors().find(|above| root.on_host(above).exists());
    root.on_host(exists.unwrap_or(Path::new("/")))
}

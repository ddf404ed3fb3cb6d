//! The spool: a directory with one file for each profile, which `oci-apparmor sync` reads.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use oci_apparmor::fs::replace::{Options, replace};

use crate::file::SpoolFile;
use crate::object::{MAX_FILE, ObjectFile, digest};
use crate::plan::{SpoolStep, SpoolView};

/// Exists when the spool shows a whole state of the API.
const COMPLETE: &str = ".complete";

/// Only root reads the spool besides its owner; the directory has the same for its group.
const MODE: u32 = 0o640;

/// More entries than this are not looked at.
const MAX_ENTRIES: usize = 20_000;

/// The spool's directory, and what is known of it.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    view: SpoolView,
}

impl Spool {
    /// Reads the directory, and removes temporary files that a killed process left behind.
    ///
    /// # Errors
    /// Those of reading the directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut view = SpoolView {
            files: BTreeMap::new(),
            complete: false,
        };
        for entry in fs::read_dir(path)?.take(MAX_ENTRIES) {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            if name == COMPLETE {
                view.complete = true;
            } else if is_temporary(name) {
                // Best effort: where it is in the way, writing that file fails and says so.
                let _ = fs::remove_file(path.join(name));
            } else if let Some(file) = SpoolFile::parse(name) {
                view.files.insert(file, read_digest(&path.join(name)).ok());
            }
        }
        Ok(Self {
            path: path.to_owned(),
            view,
        })
    }

    /// What is in it.
    #[must_use]
    pub fn view(&self) -> &SpoolView {
        &self.view
    }

    /// Does one step.
    ///
    /// # Errors
    /// Those of the system calls. The file is then what it was.
    pub fn carry_out(&mut self, step: &SpoolStep) -> io::Result<()> {
        match step {
            SpoolStep::Write(file) => {
                self.replace(&file.file.file_name(), &file.bytes)?;
                let ObjectFile { file, digest, .. } = file;
                self.view.files.insert(file.clone(), Some(*digest));
            }
            SpoolStep::Remove(file) => {
                match fs::remove_file(self.path.join(file.file_name())) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    _ => self.view.files.remove(file),
                };
            }
            SpoolStep::MarkComplete => {
                self.replace(COMPLETE, b"")?;
                self.view.complete = true;
            }
        }
        Ok(())
    }

    /// Durable: after a power cut, the spool must not be complete and have an empty file.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.path.join(temporary(name));
        let options = Options::with_mode(MODE).durable();
        replace(&self.path.join(name), &temporary, bytes, options)
    }
}

fn temporary(name: &str) -> String {
    format!(".{name}.tmp")
}

fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".tmp")
}

/// The SHA-256 of a regular file that is not larger than what is written here.
fn read_digest(path: &Path) -> io::Result<[u8; 32]> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    read_bounded(file).map(|bytes| digest(&bytes))
}

fn read_bounded(file: File) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_FILE)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    match bytes.len() > MAX_FILE {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests;

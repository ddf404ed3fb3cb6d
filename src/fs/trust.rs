//! Which files are trusted: those that only root can have written.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, Kind, reason};

/// Why a file is not used.
#[derive(Debug)]
pub enum TrustError {
    /// The file does not exist.
    Missing,
    /// Another user than root could have written it, or it is not the expected type of file.
    Untrusted(Distrust),
    /// A system call failed.
    Io(io::Error),
}

/// Why a file is not trusted, and the command that mends it, where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distrust {
    why: String,
    remedy: Option<String>,
}

impl Distrust {
    /// A reason.
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            remedy: None,
        }
    }

    /// The command that mends it.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}

/// The reason alone.
impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// The result of checking a file.
pub type Trusted<T> = std::result::Result<T, TrustError>;

impl TrustError {
    /// An error of `kind` about `path`.
    #[must_use]
    pub fn about(&self, path: &Path, kind: Kind) -> Error {
        let path = path.display();
        match self {
            Self::Missing => Error::new(kind, format!("{path} does not exist")),
            Self::Untrusted(why) => {
                let error = Error::new(kind, format!("{path} is not trusted: {why}"));
                match why.remedy() {
                    Some(remedy) => error.with_remedy(remedy),
                    None => error,
                }
            }
            Self::Io(e) => Error::new(kind, format!("cannot read {path}: {}", reason(e))),
        }
    }

    pub(super) fn untrusted(why: &str) -> Self {
        Self::Untrusted(Distrust::new(why))
    }
}

impl From<io::Error> for TrustError {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Io(e),
        }
    }
}

/// Checks that root owns a file and that only root can write it. `what` names it in the error.
pub(super) fn written_only_by_root(what: &str, meta: &Metadata) -> Trusted<()> {
    owned_by_root(what, meta)?;
    if meta.mode() & 0o022 != 0 {
        // With the sticky bit the mode is intended, as that of /tmp is.
        let is_intended = meta.mode() & 0o1000 != 0;
        let has_remedy = meta.is_dir() && what.starts_with('/') && !is_intended;
        let why = format!(
            "{what} is writable by group or others (mode {:04o}, group {})",
            meta.mode() & 0o7777,
            meta.gid()
        );
        return Err(TrustError::Untrusted(Distrust {
            why,
            remedy: has_remedy.then(|| format!("run: chmod go-w {what}")),
        }));
    }
    Ok(())
}

/// Checks that root owns a file.
pub(super) fn owned_by_root(what: &str, meta: &Metadata) -> Trusted<()> {
    if meta.uid() != 0 && Some(meta.uid()) != unmapped_root() {
        let why = format!("{what} belongs to uid {}, not to root", meta.uid());
        return Err(TrustError::Untrusted(Distrust::new(why)));
    }
    Ok(())
}

/// The uid that files of the host's root show in a user namespace that does not map it: the
/// overflow uid (`user_namespaces(7)`). `None` if it is mapped.
fn unmapped_root() -> Option<u32> {
    let map = fs::read_to_string("/proc/self/uid_map").ok()?;
    let maps_root = map.lines().any(|line| {
        let mut fields = line.split_whitespace();
        fields.nth(1).is_some_and(|outside| outside == "0")
    });
    if maps_root {
        return None;
    }
    fs::read_to_string("/proc/sys/kernel/overflowuid")
        .ok()?
        .trim()
        .parse()
        .ok()
}

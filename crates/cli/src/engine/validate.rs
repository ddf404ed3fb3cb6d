//! Asks an engine's own program whether a new configuration is valid, before it is written.
//!
//! The program reads it from a file in memory, so no file is left behind if this process is killed.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::engine::edit::TextFile;
use crate::engine::imports;
use crate::engine::root::NodeRoot;
use oci_apparmor::child::{self, Limits};
use oci_apparmor::error::{Error, Kind, Result, foreign};

/// Both programs end within two seconds. A Go program reserves much more address space than it uses.
const LIMITS: Limits = Limits {
    time: Duration::from_secs(30),
    memory: 64 << 30,
};

/// A text as a file in memory.
struct Candidate {
    file: File,
}

impl Candidate {
    fn new(text: &str) -> Result<Self> {
        let failed = |e| Error::io("make", Path::new("a file in memory"), &e);
        let made = memfd_create("candidate", MFdFlags::MFD_CLOEXEC);
        let mut file = File::from(made.map_err(|e| failed(e.into()))?);
        file.write_all(text.as_bytes()).map_err(failed)?;
        Ok(Self { file })
    }

    /// The path by which another process can open it until this value is dropped.
    fn path(&self) -> PathBuf {
        let fd = self.file.as_raw_fd();
        // In the /proc of a node that was entered, this process has another id.
        let id = std::fs::read_link("/proc/self");
        let id = id.unwrap_or_else(|_| PathBuf::from(std::process::id().to_string()));
        Path::new("/proc").join(id).join(format!("fd/{fd}"))
    }
}

/// Asks dockerd whether a `daemon.json` is valid. Versions before 23 cannot tell, so every file
/// passes.
///
/// # Errors
/// [`Kind::Configuration`], with the message of dockerd.
pub(crate) fn docker(dockerd: &Path, file: &TextFile) -> Result<()> {
    let candidate = Candidate::new(&file.text)?;
    let option = format!("--config-file={}", candidate.path().display());
    match child::run(dockerd, &["--validate", &option], b"", LIMITS) {
        // The answer of a dockerd before 23.
        Err(e) if e.messages().contains("unknown flag: --validate") => Ok(()),
        Err(e) => Err(refused("dockerd", &file.path, &candidate, e)),
        Ok(_) => Ok(()),
    }
}

/// Asks containerd whether its configuration is valid with this file, which may be `main` or a
/// drop-in that `main` imports or will import.
///
/// # Errors
/// [`Kind::Configuration`], with the message of containerd.
pub(crate) fn containerd(
    containerd: &Path,
    root: &NodeRoot,
    main: &Path,
    file: &TextFile,
) -> Result<()> {
    let candidate = Candidate::new(&imports::with_absolute_imports(root, file, None)?)?;
    let whole = match root.read(main)? {
        Some(main) if main.path != file.path => {
            let other = Some((file.path.as_path(), candidate.path()));
            Some(Candidate::new(&imports::with_absolute_imports(
                root, &main, other,
            )?)?)
        }
        _ => None,
    };
    let path = whole.as_ref().unwrap_or(&candidate).path();
    let path = path.to_string_lossy();
    match child::run(
        containerd,
        &["--config", &path, "config", "dump"],
        b"",
        LIMITS,
    ) {
        Err(e) => Err(refused("containerd", &file.path, &candidate, e)),
        Ok(_) => Ok(()),
    }
}

fn refused(engine: &str, file: &Path, candidate: &Candidate, said: child::ChildFailure) -> Error {
    let said = Error::from(said).to_string().replace(
        &*candidate.path().to_string_lossy(),
        &file.to_string_lossy(),
    );
    Error::new(
        Kind::Configuration,
        format!(
            "{engine} rejects the new {}: {}",
            file.display(),
            foreign(&said)
        ),
    )
    .with_remedy("correct the file, and run the command again; nothing was changed")
}

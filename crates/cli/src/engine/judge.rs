//! What an engine itself says of a configuration before it is put in place.
//!
//! The text is shown to it as a file in memory, so that nothing is left behind whatever happens.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::engine::place::Place;
use crate::engine::{Text, files};
use oci_apparmor::child::{self, Limits};
use oci_apparmor::error::{Error, Kind, Result, foreign};

/// A program in Go reserves much more than it uses; both end within a second or two.
const LIMITS: Limits = Limits {
    time: Duration::from_secs(30),
    memory: 64 << 30,
};

/// A text as a file.
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

    /// Its path for another process, as long as this value lives.
    fn path(&self) -> PathBuf {
        let fd = self.file.as_raw_fd();
        PathBuf::from(format!("/proc/{}/fd/{fd}", std::process::id()))
    }
}

/// Lets dockerd judge a `daemon.json`.
///
/// # Errors
/// [`Kind::Configuration`], with what it says; versions before 23 judge nothing.
pub fn docker(dockerd: &Path, file: &Text) -> Result<()> {
    let candidate = Candidate::new(&file.text)?;
    let option = format!("--config-file={}", candidate.path().display());
    match child::run(dockerd, &["--validate", &option], b"", LIMITS) {
        // The answer of a dockerd before 23.
        Err(e) if e.messages().contains("unknown flag: --validate") => Ok(()),
        Err(e) => Err(refused("dockerd", &file.path, &candidate, e)),
        Ok(_) => Ok(()),
    }
}

/// Lets containerd judge a file, in the place that it has or will have among those that `main`
/// imports.
///
/// # Errors
/// [`Kind::Configuration`], with what it says.
pub fn containerd(containerd: &Path, place: &Place, main: &Path, file: &Text) -> Result<()> {
    let candidate = Candidate::new(&files::relocated(place, file, None)?)?;
    let whole = match place.read(main)? {
        Some(main) if main.path != file.path => {
            let other = Some((file.path.as_path(), candidate.path()));
            Some(Candidate::new(&files::relocated(place, &main, other)?)?)
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

fn refused(engine: &str, file: &Path, candidate: &Candidate, said: child::Failure) -> Error {
    let said = Error::from(said).to_string().replace(
        &*candidate.path().to_string_lossy(),
        &file.to_string_lossy(),
    );
    Error::new(
        Kind::Configuration,
        format!(
            "{engine} does not accept what {} would become: {}",
            file.display(),
            foreign(&said)
        ),
    )
    .with_remedy("correct what it complains of; nothing was changed")
}

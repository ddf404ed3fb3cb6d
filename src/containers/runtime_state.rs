//! Where a low-level runtime keeps the containers that it made, and what it says about them.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::containers::process::Stat;
use crate::error::{Error, Kind, Result, reason};
use crate::fs::bounded;
use crate::settings::RuntimeKind;
use crate::user_namespace;

/// The state files are the size of a bundle's configuration.
const MAX: u64 = 16 << 20;

/// The directory of `runtime`'s containers: the one that was given, or its own default.
#[must_use]
pub fn root(runtime: RuntimeKind, given: Option<&OsStr>) -> PathBuf {
    if let Some(given) = given {
        return std::path::absolute(given).unwrap_or_else(|_| PathBuf::from(given));
    }
    let user = env::var_os("XDG_RUNTIME_DIR")
        .filter(|d| !d.is_empty())
        .map(PathBuf::from);
    match user {
        Some(user) if honours_user_directory(runtime) => user.join(runtime.name()),
        _ => Path::new("/run").join(runtime.name()),
    }
}

/// Whether `runtime` would put its containers below `$XDG_RUNTIME_DIR`.
fn honours_user_directory(runtime: RuntimeKind) -> bool {
    let root = nix::unistd::geteuid().is_root();
    match runtime {
        // runc main.go, shouldHonorXDGRuntimeDir(): root in a user namespace, unless $USER says so.
        RuntimeKind::Runc if root => {
            !user_namespace::is_initial() && env::var_os("USER").is_none_or(|u| u != "root")
        }
        // crun takes it whoever runs it (libcrun/status.c, get_run_directory()).
        RuntimeKind::Crun => true,
        RuntimeKind::Runc | RuntimeKind::Youki => !root,
    }
}

/// What a container was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its bundle.
    pub bundle: PathBuf,
    /// The configuration that was read.
    pub configuration: PathBuf,
    /// Its first process; `None` where there is none any more.
    pub pid: Option<u32>,
    /// Whether it waits for `start`: its first process is still the runtime's own.
    pub waits: bool,
}

/// What a container was made from, as its runtime remembers it; `None` where the runtime does
/// not have such a container.
///
/// # Errors
/// Where the state is there and cannot be understood: the container may be one that asked.
pub fn origin(runtime: RuntimeKind, root: &Path, id: &str) -> Result<Option<Origin>> {
    #[derive(Deserialize)]
    struct RuncState {
        config: RuncConfig,
        #[serde(default)]
        init_process_pid: i64,
        #[serde(default)]
        init_process_start: u64,
    }
    #[derive(Deserialize)]
    struct RuncConfig {
        labels: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Named {
        bundle: PathBuf,
        #[serde(default)]
        pid: Option<i64>,
        /// Only crun's.
        #[serde(default, rename = "process-start-time")]
        started: u64,
    }
    let own = root.join(id);
    // What cannot be looked at may be there: an exec would then go without its label.
    if !exists(&own)? {
        return Ok(None);
    }
    let (bundle, pid, started) = match runtime {
        RuntimeKind::Runc => {
            let state: RuncState = read(&own.join("state.json"))?;
            let bundle = state
                .config
                .labels
                .iter()
                .find_map(|l| l.strip_prefix("bundle="));
            let bundle = bundle.ok_or_else(|| unreadable(&own, "it names no bundle"))?;
            let (pid, started) = (state.init_process_pid, state.init_process_start);
            (PathBuf::from(bundle), Some(pid), started)
        }
        RuntimeKind::Crun | RuntimeKind::Youki => {
            let file = if runtime == RuntimeKind::Crun {
                "status"
            } else {
                "state.json"
            };
            let state: Named = read(&own.join(file))?;
            (state.bundle, state.pid, state.started)
        }
    };
    let configuration = match runtime {
        // crun keeps a copy of what it read, whatever `--config` named.
        RuntimeKind::Crun => own.join("config.json"),
        RuntimeKind::Runc | RuntimeKind::Youki => bundle.join("config.json"),
    };
    // runc and crun wait at a FIFO for `start`, youki at a socket; each goes when it starts.
    let waits = exists(&own.join("exec.fifo"))? || exists(&own.join("notify.sock"))?;
    let pid = pid.and_then(|pid| u32::try_from(pid).ok());
    let pid = match pid {
        Some(pid) if is_there_since(pid, started).map_err(|e| unreadable(&own, &reason(&e)))? => {
            Some(pid)
        }
        _ => None,
    };
    Ok(Some(Origin {
        bundle,
        configuration,
        pid,
        waits,
    }))
}

/// Whether there is a process of this id that has not ended, and is no later one: the time of its
/// start is the one that the runtime has noted down, if it has.
fn is_there_since(pid: u32, started: u64) -> io::Result<bool> {
    match Stat::read(&Path::new("/proc").join(pid.to_string())) {
        Ok(stat) => Ok(!stat.is_over() && (started == 0 || stat.started() == started)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether a container is one that this kind of runtime made: several may share a root.
#[must_use]
pub fn has(runtime: RuntimeKind, root: &Path, id: &str) -> bool {
    let is = |file: &str| root.join(id).join(file).try_exists().unwrap_or(true);
    match runtime {
        RuntimeKind::Crun => is("status"),
        // youki keeps the state that every runtime shows, and beside it a file of its own.
        RuntimeKind::Runc => is("state.json") && !is("youki_config.json"),
        RuntimeKind::Youki => is("youki_config.json"),
    }
}

/// Whether there is something of this name.
///
/// # Errors
/// Where it cannot be told: that is not the same as no.
pub(crate) fn exists(path: &Path) -> Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(e) => Err(unreadable(path, &reason(&e))),
    }
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let bytes = File::open(path)
        .and_then(|file| bounded::read(&file, MAX))
        .map_err(|e| unreadable(path, &reason(&e)))?
        .ok_or_else(|| unreadable(path, "it is larger than 16 MiB"))?;
    serde_json::from_slice(&bytes).map_err(|e| unreadable(path, &e.to_string()))
}

fn unreadable(path: &Path, why: &str) -> Error {
    Error::new(
        Kind::Internal,
        format!(
            "the runtime's state {} cannot be read: {why}",
            path.display()
        ),
    )
    .with_remedy("restart the container")
}

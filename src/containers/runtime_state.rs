//! The state that a low-level runtime keeps of each container, `ROOT/ID`.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::containers::procfs::Stat;
use crate::containers::record::ContainerKey;
use crate::error::{Error, Kind, Result, reason};
use crate::fs::bounded;
use crate::settings::RuntimeKind;
use crate::user_namespace;

/// runc's state contains the whole configuration, which is limited to this size.
const MAX: u64 = 16 << 20;

/// The file of runc and youki, and that of crun.
const STATE: &str = "state.json";
const CRUN_STATE: &str = "status";

/// Where a container waits for `start`: runc and crun at a FIFO, youki at a socket. `start` removes it.
const GATES: [&str; 2] = ["exec.fifo", "notify.sock"];

/// The files whose changes change what is read here. A state is written under another name and then
/// renamed, or written and closed.
pub(crate) const FILES: [&str; 4] = [STATE, CRUN_STATE, GATES[0], GATES[1]];

/// The root directory of `runtime`: the value of `--root`, or its default.
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

/// Whether the default root of `runtime` is below `$XDG_RUNTIME_DIR`.
fn honours_user_directory(runtime: RuntimeKind) -> bool {
    let root = user_namespace::is_root();
    match runtime {
        // runc main.go, shouldHonorXDGRuntimeDir(): root in a user namespace, unless $USER says so.
        RuntimeKind::Runc if root => {
            !user_namespace::is_initial() && env::var_os("USER").is_none_or(|u| u != "root")
        }
        // crun does so for every user (libcrun/status.c, get_run_directory()).
        RuntimeKind::Crun => true,
        RuntimeKind::Runc | RuntimeKind::Youki => !root,
    }
}

/// What a runtime's state says of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeState {
    /// Its bundle.
    pub bundle: PathBuf,
    /// The configuration file that the runtime read.
    pub configuration: PathBuf,
    /// Its first process; `None` if that has ended.
    pub pid: Option<u32>,
    /// Whether it waits for `start`. Its first process then still executes the runtime.
    pub awaits_start: bool,
}

/// Reads the state of a container; `None` if the runtime has no such container.
///
/// # Errors
/// If there is a state that cannot be read: the container may be one with a profile.
pub fn read(runtime: RuntimeKind, container: ContainerKey<'_>) -> Result<Option<RuntimeState>> {
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
    struct State {
        bundle: PathBuf,
        #[serde(default)]
        pid: Option<i64>,
        /// Only crun has it.
        #[serde(default, rename = "process-start-time")]
        started: u64,
    }
    let own = container.state_directory();
    // A state that cannot be looked at may exist, and an `exec` would then run without the label.
    if !exists(container)? {
        return Ok(None);
    }
    let (bundle, pid, started) = match runtime {
        RuntimeKind::Runc => {
            let state: RuncState = read_json(&own.join(STATE))?;
            let bundle = state
                .config
                .labels
                .iter()
                .find_map(|l| l.strip_prefix("bundle="));
            let bundle = bundle.ok_or_else(|| unreadable(&own, "it does not name the bundle"))?;
            let (pid, started) = (state.init_process_pid, state.init_process_start);
            (PathBuf::from(bundle), Some(pid), started)
        }
        RuntimeKind::Crun | RuntimeKind::Youki => {
            let file = if runtime == RuntimeKind::Crun {
                CRUN_STATE
            } else {
                STATE
            };
            let state: State = read_json(&own.join(file))?;
            (state.bundle, state.pid, state.started)
        }
    };
    let configuration = match runtime {
        // crun keeps a copy of what it read, whatever `--config` named.
        RuntimeKind::Crun => own.join("config.json"),
        RuntimeKind::Runc | RuntimeKind::Youki => bundle.join("config.json"),
    };
    let awaits_start = awaits_start(container)?;
    let pid = pid.and_then(|pid| u32::try_from(pid).ok());
    let pid = match pid {
        Some(pid) if is_process_of(pid, started).map_err(|e| unreadable(&own, &reason(&e)))? => {
            Some(pid)
        }
        _ => None,
    };
    Ok(Some(RuntimeState {
        bundle,
        configuration,
        pid,
        awaits_start,
    }))
}

/// Whether a container waits for `start`.
///
/// # Errors
/// If that cannot be determined.
pub(crate) fn awaits_start(container: ContainerKey<'_>) -> Result<bool> {
    let own = container.state_directory();
    for gate in GATES {
        if path_exists(&own.join(gate))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether there is a running process with this id and, if the runtime recorded a start time, with
/// that start time. Otherwise the id was reused.
fn is_process_of(pid: u32, started: u64) -> io::Result<bool> {
    match Stat::read(&Path::new("/proc").join(pid.to_string())) {
        Ok(stat) => Ok(!stat.has_ended() && (started == 0 || stat.started() == started)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether this kind of runtime created a container. Several runtimes may use one root.
#[must_use]
pub fn is_created_by(runtime: RuntimeKind, container: ContainerKey<'_>) -> bool {
    let directory = container.state_directory();
    let has = |file: &str| directory.join(file).try_exists().unwrap_or(true);
    match runtime {
        RuntimeKind::Crun => has(CRUN_STATE),
        // youki writes `state.json` as runc does, and another file beside it.
        RuntimeKind::Runc => has(STATE) && !has("youki_config.json"),
        RuntimeKind::Youki => has("youki_config.json"),
    }
}

/// Whether a runtime has state of a container.
///
/// # Errors
/// If that cannot be determined.
pub(crate) fn exists(container: ContainerKey<'_>) -> Result<bool> {
    path_exists(&container.state_directory())
}

fn path_exists(path: &Path) -> Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(e) => Err(unreadable(path, &reason(&e))),
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let bytes = File::open(path)
        .and_then(|file| bounded::read(&file, MAX))
        .map_err(|e| unreadable(path, &reason(&e)))?
        .ok_or_else(|| unreadable(path, "it is larger than 16 MiB"))?;
    serde_json::from_slice(&bytes).map_err(|e| unreadable(path, &e.to_string()))
}

fn unreadable(path: &Path, why: &str) -> Error {
    Error::new(
        Kind::Internal,
        format!("cannot read the runtime's state {}: {why}", path.display()),
    )
    .with_remedy("restart the container")
}

//! Who relies on a profile: the processes that run under it, and the containers that will.
//!
//! When a profile is removed, its processes turn unconfined for good, and a label that waits for
//! `start` turns into `unconfined` without a word. So this is asked before anybody unloads one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::apparmor::name::ProfileName;
use crate::containers::labels;
use crate::containers::process;
use crate::containers::record::{self, Record};
use crate::containers::runtime_state;
use crate::error::{Error, Result};
use crate::settings::RuntimeKind;

/// One that relies on a profile, or on a child of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carrier {
    /// A process, with its name and its label as the kernel prints it.
    Process {
        /// The process.
        pid: u32,
        /// Its name, at most 15 bytes.
        comm: String,
        /// Its label.
        label: String,
    },
    /// A container of ours that runs, waits for its start, or is being made.
    Container {
        /// Its id.
        id: String,
        /// Which of these.
        state: State,
    },
}

/// How far a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Whoever makes it is still at it.
    UnderWay,
    /// It waits for `start`.
    Created,
    /// It runs, with this first process.
    Running(u32),
    /// It has ended, and its runtime still knows it.
    Stopped,
    /// Its runtime does not know it any more.
    Gone,
    /// Its runtime's state cannot be read.
    Unknown,
}

impl State {
    /// The state of the container of a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let runtime = RuntimeKind::named(&record.runtime);
        let origin =
            runtime.map(|runtime| runtime_state::origin(runtime, &record.root, &record.id));
        match origin {
            Some(Ok(None)) if is_alive(record.writer) => Self::UnderWay,
            Some(Ok(None)) => Self::Gone,
            // youki writes its state before there is a process.
            Some(Ok(Some(origin))) if origin.pid.is_none() && is_alive(record.writer) => {
                Self::UnderWay
            }
            // Its first process is still the runtime's own; nothing of the container runs.
            Some(Ok(Some(origin))) if origin.waits && origin.pid.is_some() => Self::Created,
            Some(Ok(Some(origin))) => origin.pid.map_or(Self::Stopped, Self::Running),
            Some(Err(_)) | None => Self::Unknown,
        }
    }

    /// Whether something of the container may run under its label, now or later.
    #[must_use]
    pub fn relies_on_its_label(self) -> bool {
        !matches!(self, Self::Stopped | Self::Gone)
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnderWay => "being made",
            Self::Created => "created",
            Self::Running(_) => "running",
            Self::Stopped => "stopped",
            Self::Gone => "gone",
            Self::Unknown => "unknown",
        }
    }
}

/// Everybody who relies on the profile or on a child of it, as far as this can be seen: the
/// containers of other users' wrappers, and those that only a hook saw, are seen by their
/// processes alone.
///
/// # Errors
/// Where processes or records cannot be listed.
pub fn of(name: &ProfileName) -> Result<Vec<Carrier>> {
    let mut found: Vec<Carrier> = record::all()?
        .into_iter()
        .filter(|record| {
            record
                .components
                .iter()
                .any(|c| name.covers(c.name.as_str()))
        })
        .map(|record| Carrier::Container {
            state: State::of(&record),
            id: record.id,
        })
        .filter(|carrier| match carrier {
            Carrier::Container { state, .. } => state.relies_on_its_label(),
            Carrier::Process { .. } => true,
        })
        .collect();
    let processes = process::everything().map_err(|e| Error::io("list", Path::new("/proc"), &e))?;
    for process in processes {
        let threads = fs::read_dir(process.join("task")).into_iter().flatten();
        let label = threads
            .flatten()
            .find_map(|thread| carried(&thread.path(), name));
        let pid = process.file_name().and_then(|n| n.to_str());
        if let (Some(label), Some(Ok(pid))) = (label, pid.map(str::parse)) {
            let comm = fs::read_to_string(process.join("comm")).unwrap_or_default();
            let comm = comm.trim_end().to_owned();
            found.push(Carrier::Process { pid, comm, label });
        }
    }
    Ok(found)
}

/// The label of a thread, if it holds the profile; also one that waits for its next exec. (Kernels
/// before 6.12.86 show the reader's own waiting label here, and we have none: commit
/// 4afc61702bdc.)
fn carried(thread: &Path, name: &ProfileName) -> Option<String> {
    ["current", "exec"]
        .iter()
        .filter_map(|file| fs::read_to_string(thread.join("attr/apparmor").join(file)).ok())
        .map(|text| text.trim_end().to_owned())
        .find(|text| labels::components(text).0.iter().any(|c| name.covers(c)))
}

/// Whether there is a process of this id. After an id was used again it may be another one; then
/// something is kept for longer than it had to be.
pub(crate) fn is_alive(pid: u32) -> bool {
    PathBuf::from("/proc").join(pid.to_string()).exists()
}

//! The status of a container that has a record.

use std::path::Path;

use crate::containers::record::Record;
use crate::containers::runtime_state;
use crate::settings::RuntimeKind;

/// The status of a container, as in the OCI runtime specification ("State"), and what this program
/// must tell apart besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerStatus {
    /// The process that wrote the record still exists, and the runtime has no state yet.
    Creating,
    /// It waits for `start`.
    Created,
    /// It runs; this is the id of its first process.
    Running(u32),
    /// It has ended, and its runtime still has its state.
    Stopped,
    /// Its runtime has no state of it any more.
    Gone,
    /// Its runtime's state cannot be read.
    Unknown,
}

impl ContainerStatus {
    /// The status of the container of a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let runtime = RuntimeKind::named(&record.runtime);
        let state = runtime.map(|runtime| runtime_state::read(runtime, record.container_key()));
        match state {
            Some(Ok(None)) if exists(record.writer) => Self::Creating,
            Some(Ok(None)) => Self::Gone,
            // youki writes its state before there is a process.
            Some(Ok(Some(state))) if state.pid.is_none() && exists(record.writer) => Self::Creating,
            Some(Ok(Some(state))) if state.awaits_start && state.pid.is_some() => Self::Created,
            Some(Ok(Some(state))) => state.pid.map_or(Self::Stopped, Self::Running),
            Some(Err(_)) | None => Self::Unknown,
        }
    }

    /// Whether a process may run under the container's label, now or later.
    #[must_use]
    pub fn relies_on_its_label(self) -> bool {
        !matches!(self, Self::Stopped | Self::Gone)
    }

    /// The word for it in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "being made",
            Self::Created => "created",
            Self::Running(_) => "running",
            Self::Stopped => "stopped",
            Self::Gone => "gone",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether there is, or may be, a process with this id. The id may have been reused; a record is
/// then kept longer than necessary.
fn exists(pid: u32) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    process.try_exists().unwrap_or(true)
}

//! Containers that were made through the wrapper: the label that each must have, and the labels that
//! its processes have.

use std::path::Path;

use serde::Serialize;

use oci_apparmor::apparmor::name::Label;
use oci_apparmor::containers::labels::{self, LabelledProcess};
use oci_apparmor::containers::record::Record;
use oci_apparmor::containers::records;
use oci_apparmor::containers::status::ContainerStatus;
use oci_apparmor::error::Result;
use oci_apparmor::node::Node;

/// A container that was made through the wrapper.
#[derive(Debug)]
pub(crate) struct ManagedContainer {
    pub(crate) record: Record,
    pub(crate) state: ContainerStatus,
    pub(crate) processes: Vec<LabelledProcess>,
}

/// What `--json` prints of a container.
#[derive(Debug, Serialize)]
pub(crate) struct ContainerJson<'c> {
    id: &'c str,
    runtime: &'c str,
    root: &'c Path,
    state: &'static str,
    label: Option<String>,
    key: Option<&'c str>,
    namespace: Option<&'c str>,
    pod: Option<&'c str>,
    container: Option<&'c str>,
    processes: Vec<ShownProcess<'c>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ShownProcess<'c> {
    pid: u32,
    comm: &'c str,
    label: &'c str,
    confined: bool,
}

impl<'c> ShownProcess<'c> {
    fn of(process: &'c LabelledProcess) -> Self {
        Self {
            pid: process.pid,
            comm: &process.comm,
            label: &process.label,
            confined: process.confined,
        }
    }
}

impl ManagedContainer {
    /// All of them.
    ///
    /// # Errors
    /// If the records, or the processes of a container, cannot be listed.
    pub(crate) fn all(node: &Node) -> Result<Vec<Self>> {
        let records = records::all()?.into_iter();
        records.map(|record| Self::of(record, node)).collect()
    }

    fn of(record: Record, node: &Node) -> Result<Self> {
        let state = ContainerStatus::of(&record);
        let processes = match state {
            ContainerStatus::Running(pid) => labels::of_container(pid, &record, node)?,
            _ => Vec::new(),
        };
        Ok(Self {
            record,
            state,
            processes,
        })
    }

    /// The processes that run without the label of the container.
    pub(crate) fn unconfined(&self) -> impl Iterator<Item = &LabelledProcess> {
        self.processes.iter().filter(|process| !process.confined)
    }

    /// What `--json` prints of it.
    pub(crate) fn shown(&self) -> ContainerJson<'_> {
        ContainerJson {
            id: &self.record.id,
            runtime: &self.record.runtime,
            root: &self.record.root,
            state: self.state.as_str(),
            label: self.record.label.as_ref().map(Label::to_string),
            key: self.record.key.as_deref(),
            namespace: self.record.namespace.as_deref(),
            pod: self.record.pod.as_deref(),
            container: self.record.container.as_deref(),
            processes: self.processes.iter().map(ShownProcess::of).collect(),
        }
    }
}

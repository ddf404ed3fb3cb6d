//! Containers that were made through the wrapper: the label that each must have, and the labels that
//! its processes have.

use std::collections::BTreeSet;
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

/// How the labels of a container's processes compare with the one that it must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LabelState {
    /// Every process has it.
    Confined,
    /// A process runs without it.
    Violated,
    /// It runs, and was decided to have no profile.
    NoProfile,
    /// It was not started yet.
    Waiting,
    /// It has ended.
    Ended,
    /// Its runtime's state cannot be read.
    Unknown,
}

impl LabelState {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [
        Self::Confined,
        Self::Violated,
        Self::NoProfile,
        Self::Waiting,
        Self::Ended,
        Self::Unknown,
    ];

    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Confined => "confined",
            Self::Violated => "violated",
            Self::NoProfile => "no profile",
            Self::Waiting => "waiting",
            Self::Ended => "ended",
            Self::Unknown => "unknown",
        }
    }
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

    /// The label that it must have.
    pub(crate) fn must_have(&self) -> Option<String> {
        self.record.label.as_ref().map(Label::to_string)
    }

    /// The labels that its processes have.
    pub(crate) fn has(&self) -> Vec<&str> {
        let labels = self.processes.iter().map(|process| process.label.as_str());
        Vec::from_iter(BTreeSet::from_iter(labels))
    }

    /// Its id, as engines show it: the first 12 of 64 hexadecimal digits.
    pub(crate) fn short_id(&self) -> &str {
        let id = &self.record.id;
        let long = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
        id.get(..12).filter(|_| long).unwrap_or(id)
    }

    /// Its pod and its name there, as far as its engine gave them.
    pub(crate) fn pod(&self) -> Option<String> {
        let Record {
            namespace,
            pod,
            container,
            ..
        } = &self.record;
        let parts = [namespace, pod, container].into_iter().flatten();
        let parts: Vec<&str> = parts.map(String::as_str).collect();
        (!parts.is_empty()).then(|| parts.join("/"))
    }

    /// How its processes' labels compare with the one that it must have.
    pub(crate) fn label_state(&self) -> LabelState {
        match self.state {
            _ if self.unconfined().next().is_some() => LabelState::Violated,
            ContainerStatus::Running(_) if self.record.components.is_empty() => {
                LabelState::NoProfile
            }
            ContainerStatus::Running(_) => LabelState::Confined,
            ContainerStatus::Creating | ContainerStatus::Created => LabelState::Waiting,
            ContainerStatus::Stopped | ContainerStatus::Gone => LabelState::Ended,
            ContainerStatus::Unknown => LabelState::Unknown,
        }
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
            label: self.must_have(),
            key: self.record.key.as_deref(),
            namespace: self.record.namespace.as_deref(),
            pod: self.record.pod.as_deref(),
            container: self.record.container.as_deref(),
            processes: self.processes.iter().map(ShownProcess::of).collect(),
        }
    }
}

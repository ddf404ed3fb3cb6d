//! What uses which profile at this moment: containers by their records, processes by their labels.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use oci_apparmor::apparmor::kernel::Kernel;
use oci_apparmor::containers::status::ContainerStatus;
use oci_apparmor::containers::{attr, records, removed};

/// The users of every profile.
#[derive(Debug, Default)]
pub(crate) struct Users {
    processes: BTreeMap<String, usize>,
    containers: BTreeMap<String, BTreeSet<String>>,
    lost: BTreeMap<String, BTreeSet<String>>,
}

impl Users {
    /// Looks at every record and every process.
    pub(crate) fn look(kernel: &Kernel) -> Self {
        let mut users = Self::default();
        // Without a directory of records there are no records.
        for record in records::all().unwrap_or_default() {
            if !ContainerStatus::of(&record).relies_on_its_label() {
                continue;
            }
            for component in &record.components {
                let profile = component.name.root().to_string();
                let ids = users.containers.entry(profile).or_default();
                ids.insert(record.id.clone());
            }
        }
        for lost in removed::all(kernel).unwrap_or_default() {
            let profile = lost.profile.root().to_string();
            users.lost.entry(profile).or_default().insert(lost.id);
        }
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(label) = attr::current(&entry.path()) else {
                continue;
            };
            for profile in label.profiles() {
                let count = users.processes.entry(profile.to_owned()).or_default();
                *count = count.saturating_add(1);
            }
        }
        users
    }

    /// The profiles that containers need.
    pub(crate) fn profiles(&self) -> impl Iterator<Item = &str> {
        self.containers.keys().map(String::as_str)
    }

    /// How many processes run under a profile or one of its children, alone or in a stack.
    pub(crate) fn processes(&self, profile: &str) -> usize {
        self.processes.get(profile).copied().unwrap_or_default()
    }

    /// The ids of the containers that run without it, because it was removed while they ran.
    pub(crate) fn lost(&self, profile: &str) -> Vec<&str> {
        let ids = self.lost.get(profile);
        ids.into_iter().flatten().map(String::as_str).collect()
    }

    /// The ids of the containers that need it.
    pub(crate) fn containers(&self, profile: &str) -> Vec<&str> {
        let ids = self.containers.get(profile);
        ids.into_iter().flatten().map(String::as_str).collect()
    }
}

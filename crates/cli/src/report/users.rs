//! What uses which profile at this moment: containers by their records, processes by their labels.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use oci_apparmor::apparmor::kernel::Kernel;
use oci_apparmor::containers::in_use::State;
use oci_apparmor::containers::{lost, record};

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
        for record in record::all().unwrap_or_default() {
            if !State::of(&record).relies_on_its_label() {
                continue;
            }
            for component in &record.components {
                let profile = component.name.root().to_string();
                let ids = users.containers.entry(profile).or_default();
                ids.insert(record.id.clone());
            }
        }
        for lost in lost::all(kernel).unwrap_or_default() {
            let profile = lost.profile.root().to_string();
            users.lost.entry(profile).or_default().insert(lost.id);
        }
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let current = entry.path().join("attr/apparmor/current");
            let Ok(label) = fs::read_to_string(current) else {
                continue;
            };
            for profile in profiles(&label) {
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

/// The top-level profiles of a label as the kernel prints it, each once.
pub(crate) fn profiles(label: &str) -> BTreeSet<&str> {
    let label = label.trim_end();
    let label = match label.strip_suffix(')').and_then(|l| l.rsplit_once(" (")) {
        Some((label, _)) => label,
        None => label,
    };
    let of = |component: &'_ str| {
        component
            .split_once("//")
            .map_or(component.len(), |(p, _)| p.len())
    };
    let components = label
        .split("//&")
        .filter(|c| *c != "unconfined" && !c.is_empty());
    components.filter_map(|c| c.get(..of(c))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_names_its_top_level_profiles() {
        for (label, expected) in [
            ("p (enforce)\n", &["p"][..]),
            ("a//child//&b (mixed)", &["a", "b"]),
            ("a//x//&a//y (enforce)", &["a"]),
            ("docker-default//&unconfined (enforce)", &["docker-default"]),
            ("has (brackets) (complain)", &["has (brackets)"]),
            ("unconfined\n", &[]),
            ("", &[]),
        ] {
            assert_eq!(
                profiles(label).into_iter().collect::<Vec<_>>(),
                expected,
                "{label}"
            );
        }
    }
}

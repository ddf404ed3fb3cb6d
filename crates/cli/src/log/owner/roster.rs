//! The containers that are known, and the profiles that they have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use oci_apparmor::apparmor::confinement::Confinement;
use oci_apparmor::containers::record::Record;
use oci_apparmor::containers::{attr, records};
use oci_apparmor::fs::run;
use oci_apparmor_audit::text::OutsideText;

use super::attribution::{Attribution, KnownBy, Owner};
use super::description::{Description, owner_of};
use super::process;

/// How old what is known of records and processes may be.
const FRESH: Duration = Duration::from_secs(1);

/// How many containers are kept, those that are gone included.
const MOST: usize = 4096;

/// One container.
#[derive(Debug)]
struct RosterEntry {
    owner: Arc<Owner>,
    /// The top-level profiles of its label, and of its processes.
    profiles: BTreeSet<String>,
    /// When it was created, if that is known.
    created: Option<SystemTime>,
}

/// All containers that were seen; also those that are gone, since their events may still come.
#[derive(Debug, Default)]
pub(super) struct Roster {
    entries: BTreeMap<String, RosterEntry>,
    /// Profiles that processes outside of containers have.
    on_host: BTreeSet<String>,
    refreshed: Option<Instant>,
    times: RecordTimes,
}

/// When the directories of records changed last: each record is renamed into one.
#[derive(Debug, Default, PartialEq, Eq)]
struct RecordTimes(Vec<(PathBuf, Option<SystemTime>)>);

impl RecordTimes {
    fn read() -> Self {
        let Ok(directory) = run::path().map(|path| path.join("containers")) else {
            return Self::default();
        };
        let mut all = run::list(&directory).unwrap_or_default();
        all.sort_unstable();
        all.push(directory);
        let changed = |path: &PathBuf| path.metadata().ok()?.modified().ok();
        let times = all.into_iter().map(|path| {
            let changed = changed(&path);
            (path, changed)
        });
        Self(times.collect())
    }

    /// Whether the clock of the file system may not have gone on since.
    fn are_recent(&self) -> bool {
        let last = self.0.iter().filter_map(|(_, changed)| *changed).max();
        let age = last.and_then(|last| last.elapsed().ok());
        age.is_some_and(|age| age < Duration::from_millis(50))
    }
}

impl Roster {
    /// Reads the records, and the labels of all processes.
    pub(super) fn refresh(&mut self) {
        self.read_records();
        for pid in process::all() {
            let Ok(label) = attr::current(&Path::new("/proc").join(pid.to_string())) else {
                continue;
            };
            let profiles = label.profiles();
            if profiles.is_empty() {
                continue;
            }
            let profiles = profiles.into_iter().map(str::to_owned);
            match process::group(pid, |id| self.has(id)) {
                Some(group) => {
                    self.owner(&group.id);
                    if let Some(entry) = self.entries.get_mut(&group.id) {
                        entry.profiles.extend(profiles);
                    }
                }
                None => self.on_host.extend(profiles),
            }
        }
        self.refreshed = Some(Instant::now());
    }

    /// Reads the records again if there are new ones; whether there are.
    pub(super) fn has_news(&mut self) -> bool {
        let now = RecordTimes::read();
        let has_news = now != self.times || now.are_recent();
        if has_news {
            self.read_records();
        }
        has_news
    }

    fn read_records(&mut self) {
        // Before the records, so that what changes meanwhile is seen.
        self.times = RecordTimes::read();
        // Without a directory of records there are no records.
        for record in records::all().unwrap_or_default() {
            self.add(&record);
        }
    }

    fn refresh_if_old(&mut self) {
        if self.refreshed.is_none_or(|then| then.elapsed() > FRESH) {
            self.refresh();
        }
    }

    fn add(&mut self, record: &Record) {
        let created = humantime::parse_rfc3339(&record.time).ok();
        if let Some(entry) = self.entries.get(&record.id)
            && entry.created == created
        {
            return;
        }
        let names = record.components.iter().map(|c| c.name.root().to_string());
        self.insert(RosterEntry {
            owner: Arc::new(owner_of(record)),
            profiles: names.collect(),
            created,
        });
    }

    fn insert(&mut self, entry: RosterEntry) {
        if self.entries.len() >= MOST {
            // Any: which of them is gone is not worth the time.
            self.entries.pop_first();
        }
        self.entries.insert(entry.owner.id.clone(), entry);
    }

    /// Whether there is a container with this id.
    pub(super) fn has(&self, id: &str) -> bool {
        self.entries.contains_key(id)
    }

    /// All containers.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Owner>> {
        self.entries.values().map(|entry| &entry.owner)
    }

    /// The container with this id, which a process is in.
    pub(super) fn owner(&mut self, id: &str) -> Arc<Owner> {
        if !self.has(id) {
            let all = records::all().unwrap_or_default();
            if let Some(record) = all.iter().find(|record| record.id == id) {
                self.add(record);
            }
        }
        if let Some(entry) = self.entries.get(id) {
            return entry.owner.clone();
        }
        let owner = self.unrecorded(id);
        self.insert(RosterEntry {
            owner: owner.clone(),
            profiles: BTreeSet::new(),
            created: None,
        });
        owner
    }

    /// A container without a record.
    pub(super) fn unrecorded(&self, id: &str) -> Arc<Owner> {
        let Description { name, image } = Description::of_id(id);
        Arc::new(Owner {
            id: id.to_owned(),
            name,
            pod: None,
            namespace: None,
            image,
        })
    }

    /// The container that has a profile, if it is the only one that had it at some time.
    pub(super) fn with_profile(
        &mut self,
        profile: &OutsideText,
        time: Option<SystemTime>,
    ) -> Attribution {
        let mut owners = self.having(profile, time);
        let label = Confinement::new(profile.utf8().unwrap_or_default());
        let on_host = label
            .profiles()
            .iter()
            .any(|name| self.on_host.contains(*name));
        match owners.len() {
            0 => Attribution::Unknown,
            1 if !on_host => match owners.pop() {
                Some(owner) => Attribution::Container(owner, KnownBy::Profile),
                None => Attribution::Unknown,
            },
            _ => Attribution::Candidates(owners),
        }
    }

    /// The containers that have a profile, and existed at some time.
    pub(super) fn having(
        &mut self,
        profile: &OutsideText,
        time: Option<SystemTime>,
    ) -> Vec<Arc<Owner>> {
        self.refresh_if_old();
        // A profile that a container can have has a name in ASCII.
        let label = Confinement::new(profile.utf8().unwrap_or_default());
        let profiles = label.profiles();
        let has_it = |known: &BTreeSet<String>| profiles.iter().any(|name| known.contains(*name));
        // Records have their time in whole seconds.
        let latest = time.and_then(|time| time.checked_add(Duration::from_secs(1)));
        let existed = |entry: &&RosterEntry| match (entry.created, latest) {
            (Some(created), Some(latest)) => created <= latest,
            _ => true,
        };
        let having = self
            .entries
            .values()
            .filter(|entry| has_it(&entry.profiles));
        having
            .filter(existed)
            .map(|entry| entry.owner.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn entry(id: &str, profiles: &[&str], created: Option<u64>) -> RosterEntry {
        RosterEntry {
            owner: Arc::new(Owner {
                id: id.to_owned(),
                name: None,
                pod: None,
                namespace: None,
                image: None,
            }),
            profiles: profiles.iter().map(|name| (*name).to_owned()).collect(),
            created: created.and_then(|second| UNIX_EPOCH.checked_add(Duration::from_secs(second))),
        }
    }

    #[test]
    fn only_one_container_with_the_profile_is_certain() {
        let mut roster = Roster {
            refreshed: Some(Instant::now() + Duration::from_secs(1000)),
            ..Roster::default()
        };
        for entry in [
            entry("a", &["web", "floor"], Some(10)),
            entry("b", &["shell", "floor"], Some(20)),
            entry("c", &["host"], None),
        ] {
            roster.insert(entry);
        }
        roster.on_host.insert("host".to_owned());
        let mut shown = |profile: &str, second: u64| {
            let time = UNIX_EPOCH + Duration::from_secs(second);
            match roster.with_profile(&OutsideText::new(profile.as_bytes()), Some(time)) {
                Attribution::Container(owner, KnownBy::Profile) => owner.id.clone(),
                Attribution::Candidates(all) => {
                    let ids: Vec<&str> = all.iter().map(|owner| &*owner.id).collect();
                    ids.join("?") + "?"
                }
                other => format!("{other:?}"),
            }
        };
        for (profile, second, expected) in [
            ("web", 30, "a"),
            ("web//child", 30, "a"),
            ("web//&other", 30, "a"),
            ("floor", 30, "a?b?"),
            // Before the second one was created.
            ("floor", 15, "a"),
            ("web", 5, "Unknown"),
            ("host", 30, "c?"),
            ("none", 30, "Unknown"),
        ] {
            assert_eq!(shown(profile, second), expected, "{profile}");
        }
    }
}

//! Which container an event is of.
//!
//! The kernel writes the id of the process, and no container. The control group of a process tells
//! its container, as long as the process exists. While events are followed, a table keeps the
//! containers of processes that have ended. What neither tells is decided by the profile, if only one
//! container has it. Otherwise there are candidates, and no guess.

mod attribution;
mod cgroup_id;
mod description;
mod proc_events;
mod process;
mod process_table;
mod recorded;
mod roster;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::text::OutsideText;

use super::reading::time_of;
pub(crate) use attribution::{Attribution, KnownBy, Owner};
use proc_events::{ProcessChange, ProcessEvents};
use process::ProcessPlace;
use process_table::ProcessTable;
pub(crate) use recorded::recorded;
use roster::Roster;

/// Finds the containers of events.
pub(crate) struct Owners {
    roster: Roster,
    table: ProcessTable,
    events: Option<ProcessEvents>,
}

impl Owners {
    /// `follow`: from now on, remember the containers of processes, until this is dropped. Call it
    /// before the events to follow can happen.
    pub(crate) fn new(follow: bool) -> Self {
        let mut owners = Self {
            roster: Roster::default(),
            table: ProcessTable::default(),
            events: follow.then(ProcessEvents::open).flatten(),
        };
        owners.roster.refresh();
        if owners.events.is_some() {
            owners.place_all();
        }
        owners
    }

    /// Whether the containers of processes that have ended are known.
    pub(crate) fn remembers(&self) -> bool {
        self.events.is_some()
    }

    /// What is readable when [`Owners::update`] has something to do.
    pub(crate) fn descriptor(&self) -> Option<OwnedFd> {
        let events = self.events.as_ref()?;
        events.as_fd().try_clone_to_owned().ok()
    }

    /// Notes what happened to processes. To be called often, so that nothing is lost.
    pub(crate) fn update(&mut self) {
        while let Some(change) = self.events.as_mut().and_then(ProcessEvents::next) {
            match change {
                ProcessChange::Forked {
                    parent,
                    child,
                    time,
                } => self.table.forked(parent, child, time),
                ProcessChange::Executed { pid, time } => {
                    // The first program of a container, or one that an engine executes in it: until
                    // then, it was a process of the runtime.
                    if !self.table.has(pid) {
                        self.place(pid, time);
                    }
                }
                ProcessChange::Exited { pid } => self.table.exited(pid),
                ProcessChange::Lost => {
                    self.table.clear();
                    self.place_all();
                }
            }
        }
    }

    /// The container of an event.
    pub(crate) fn of(&mut self, event: &Event) -> Attribution {
        self.update();
        let time = event.stamp.as_ref().and_then(time_of);
        if process::is_initial_namespace()
            && let Some(owner) = event.fields.pid.and_then(|pid| self.of_process(pid, time))
        {
            return owner;
        }
        let Some(profile) = event.profile() else {
            return Attribution::Unknown;
        };
        self.roster.with_profile(profile, time)
    }

    /// All containers that are known.
    pub(crate) fn all(&self) -> Vec<Arc<Owner>> {
        self.roster.all().cloned().collect()
    }

    /// The containers that have a profile now, or had it before.
    pub(crate) fn having(&mut self, profile: &OutsideText) -> Vec<Arc<Owner>> {
        self.roster.having(profile, None)
    }

    fn of_process(&mut self, pid: u32, time: Option<SystemTime>) -> Option<Attribution> {
        // The stamp has the time of the last tick, in milliseconds.
        const SLACK: Duration = Duration::from_millis(50);
        let time = time.unwrap_or_else(SystemTime::now);
        let since_boot = process::monotonic(time.checked_add(SLACK)?);
        let container = since_boot
            .and_then(|time| self.table.container(pid, time))
            .cloned();
        if let Some(container) = container {
            return Some(self.container(&container));
        }
        let time = time.checked_add(SLACK)?;
        let mut place = process::place(pid, time, |id| self.roster.has(id))?;
        if place == ProcessPlace::Host && self.roster.has_news() {
            place = process::place(pid, time, |id| self.roster.has(id))?;
        }
        match place {
            ProcessPlace::Host => Some(Attribution::Host),
            ProcessPlace::Container(group) => Some(match group.by_user {
                // A user without root chooses the names of groups.
                true => Attribution::Container(self.roster.unrecorded(&group.id), KnownBy::Process),
                false => self.container(&group.id),
            }),
        }
    }

    fn container(&mut self, id: &str) -> Attribution {
        Attribution::Container(self.roster.owner(id), KnownBy::Process)
    }

    /// Looks where a process is, and notes it if it is in a container.
    fn place(&mut self, pid: u32, since: u64) {
        let mut group = process::group(pid, |id| self.roster.has(id));
        if group.is_none() && since > 0 && self.roster.has_news() {
            group = process::group(pid, |id| self.roster.has(id));
        }
        if let Some(group) = group
            && !group.by_user
        {
            self.table.place(pid, group.id.into(), since);
        }
    }

    fn place_all(&mut self) {
        for pid in process::all() {
            self.place(pid, 0);
        }
    }
}

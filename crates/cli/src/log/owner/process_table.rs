//! Which container a process was in, also after it has ended. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// How many processes are kept; those that ended first go first.
const MOST: usize = 32_768;

/// A process of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ContainedProcess {
    container: Arc<str>,
    /// When it was forked or seen first, in nanoseconds since boot.
    since: u64,
    has_ended: bool,
}

/// The processes of containers. Others are not kept.
#[derive(Debug, Default)]
pub(super) struct ProcessTable {
    processes: BTreeMap<u32, ContainedProcess>,
    /// Those that have ended, in this order.
    ended: VecDeque<u32>,
}

impl ProcessTable {
    /// A process was forked. It is in the container of its parent.
    pub(super) fn forked(&mut self, parent: u32, child: u32, time: u64) {
        // An entry of an earlier process with this id is not of this one.
        self.processes.remove(&child);
        let container = match self.processes.get(&parent) {
            Some(parent) if !parent.has_ended => parent.container.clone(),
            _ => return,
        };
        self.place(child, container, time);
    }

    /// A process is in this container.
    pub(super) fn place(&mut self, pid: u32, container: Arc<str>, since: u64) {
        while self.processes.len() >= MOST {
            match self.ended.pop_front() {
                Some(ended) => {
                    if self
                        .processes
                        .get(&ended)
                        .is_some_and(|process| process.has_ended)
                    {
                        self.processes.remove(&ended);
                    }
                }
                None => return,
            }
        }
        self.processes.insert(
            pid,
            ContainedProcess {
                container,
                since,
                has_ended: false,
            },
        );
    }

    /// A process has ended; its events may still come.
    pub(super) fn exited(&mut self, pid: u32) {
        if let Some(process) = self.processes.get_mut(&pid)
            && !std::mem::replace(&mut process.has_ended, true)
        {
            self.ended.push_back(pid);
        }
    }

    /// Whether it is known where a process is.
    pub(super) fn has(&self, pid: u32) -> bool {
        self.processes
            .get(&pid)
            .is_some_and(|process| !process.has_ended)
    }

    /// The container of the process that had this id at some time.
    pub(super) fn container(&self, pid: u32, time: u64) -> Option<&Arc<str>> {
        let process = self.processes.get(&pid)?;
        (process.since <= time).then_some(&process.container)
    }

    /// Forgets everything: events were lost.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(table: &ProcessTable, pid: u32, time: u64) -> Option<&str> {
        table.container(pid, time).map(|id| &**id)
    }

    #[test]
    fn children_are_in_the_container_of_their_parent_also_when_they_have_ended() {
        let mut table = ProcessTable::default();
        table.place(10, "a".into(), 5);
        table.place(20, "b".into(), 5);
        table.forked(10, 11, 100);
        table.forked(11, 12, 101);
        table.exited(11);
        table.forked(20, 21, 102);
        table.forked(1, 30, 103);
        for (pid, container) in [
            (10, Some("a")),
            (11, Some("a")),
            (12, Some("a")),
            (21, Some("b")),
            (30, None),
        ] {
            assert_eq!(at(&table, pid, 200), container, "{pid}");
        }
        // Before it existed, another process had its id.
        assert_eq!(at(&table, 12, 100), None);
        assert!(table.has(12) && !table.has(11));
        // Ids are reused, by processes of the host and of other containers.
        table.forked(20, 11, 300);
        assert_eq!(at(&table, 11, 300), Some("b"));
        table.forked(1, 12, 301);
        assert_eq!(at(&table, 12, 301), None);
        table.clear();
        assert_eq!(at(&table, 10, 300), None);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_what_ended_first() {
        let mut table = ProcessTable::default();
        table.place(1, "a".into(), 0);
        let last = 200_000;
        for pid in 2..=last {
            table.forked(1, pid, 1);
            table.exited(pid);
        }
        assert!(table.processes.len() <= MOST && table.ended.len() <= MOST);
        for (pid, container) in [(1, Some("a")), (2, None), (last, Some("a"))] {
            assert_eq!(at(&table, pid, 2), container, "{pid}");
        }
        // If all of them run, later ones are not kept.
        let mut table = ProcessTable::default();
        (0..=last).for_each(|pid| table.place(pid, "a".into(), 0));
        assert_eq!(table.processes.len(), MOST);
        assert_eq!((at(&table, 0, 1), at(&table, last, 1)), (Some("a"), None));
    }
}

//! The events of one or several sources, as one sequence.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use oci_apparmor::error::{Error, Kind, Result, reason};

use super::audit_status::AuditStatus;
use super::choice::{self, Chosen};
use super::coverage::Coverage;
use super::duplicates::Duplicates;
use super::gaps::Gaps;
use super::reading::{Entry, LogReader, Reading, time_of};
use super::source::LogOptions;

/// How often what has no descriptor is looked at: files that grow.
const LOOK: Duration = Duration::from_millis(250);

/// Reads events.
pub(crate) struct EventLog {
    /// What is read first, one after the other.
    history: VecDeque<Box<dyn LogReader>>,
    /// What is read then, all at once.
    live: Vec<Box<dyn LogReader>>,
    /// Which one is read next.
    turn: usize,
    opened: SystemTime,
    since: Option<SystemTime>,
    gaps: Gaps,
    /// The kernel's counters when this began.
    status: Option<AuditStatus>,
    duplicates: Option<Duplicates>,
    coverage: Coverage,
    wake: Vec<OwnedFd>,
}

impl EventLog {
    /// Opens the sources. When this returns, whatever is logged from now on will be read, if `follow`
    /// is set.
    ///
    /// # Errors
    /// If a source that is named cannot be read, or none that `auto` could choose.
    pub(crate) fn open(options: &LogOptions) -> Result<Self> {
        let status = AuditStatus::read();
        let Chosen {
            history,
            live,
            listening,
            coverage,
        } = choice::open(options, status)?;
        let is_of_this_system = coverage.is_of_this_system;
        let status = status.filter(|_| is_of_this_system);
        Ok(Self {
            history: history.into(),
            live,
            turn: 0,
            opened: SystemTime::now(),
            since: options.since,
            gaps: Gaps {
                // What is read only from now on was not lost before.
                lost_before: match options.follow && options.since.is_none() {
                    true => 0,
                    false => status.map_or(0, |status| status.lost),
                },
                ..Gaps::default()
            },
            status,
            duplicates: listening.map(Duplicates::new),
            coverage,
            wake: Vec::new(),
        })
    }

    /// [`EventLog::next`] also returns when this is readable, for instance a signalfd(2).
    pub(crate) fn wake_for(&mut self, descriptor: OwnedFd) {
        self.wake.push(descriptor);
    }

    /// The next entry. `None`: the log has ended, or nothing came in time, or a descriptor of
    /// [`EventLog::wake_for`] is readable. Without a `timeout`, it waits.
    ///
    /// # Errors
    /// If a source cannot be read any longer. It is not read again; other sources may still be.
    pub(crate) fn next(&mut self, timeout: Option<Duration>) -> Result<Option<Entry>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if let Some(entry) = self.read()? {
                return Ok(Some(entry));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if self.is_at_end() || left.is_some_and(|left| left.is_zero()) || self.wait(left)? {
                return Ok(None);
            }
        }
    }

    /// Whether there will be no more entries.
    pub(crate) fn is_at_end(&self) -> bool {
        self.history.is_empty() && self.live.is_empty()
    }

    /// When it was opened; all that happens from then on is read, if it follows.
    pub(crate) fn opened(&self) -> SystemTime {
        self.opened
    }

    /// What was missing so far.
    pub(crate) fn gaps(&mut self) -> Gaps {
        if let (Some(before), Some(now)) = (self.status, AuditStatus::read()) {
            self.gaps.lost_by_kernel = now.lost.saturating_sub(before.lost);
        }
        self.gaps
    }

    /// What is read, and since when it is complete, as far as it was read.
    pub(crate) fn coverage(&self) -> Coverage {
        let mut coverage = self.coverage.clone();
        // What follows continues the history, or is all there is.
        if !coverage.read {
            for reader in &self.live {
                coverage.add(reader.complete_since());
            }
        }
        let since = coverage.complete_since;
        coverage.complete_since = since.map(|since| match coverage.elsewhere_until {
            Some(until) => since.max(until),
            None => since,
        });
        coverage
    }

    /// The next entry that there is.
    fn read(&mut self) -> Result<Option<Entry>> {
        while let Some(reader) = self.history.front_mut() {
            match reader.read(&mut self.gaps)? {
                Reading::Entry(entry) => {
                    if self.is_wanted(&entry, true) {
                        return Ok(Some(entry));
                    }
                }
                Reading::Nothing => return Ok(None),
                Reading::End => {
                    self.coverage.add(reader.complete_since());
                    self.history.pop_front();
                }
            }
        }
        let mut idle: usize = 0;
        while idle < self.live.len() {
            self.turn = self.turn.checked_rem(self.live.len()).unwrap_or(0);
            let Some(reader) = self.live.get_mut(self.turn) else {
                break;
            };
            let reading = match reader.read(&mut self.gaps) {
                Ok(reading) => reading,
                Err(e) => {
                    self.gaps.ended = self.gaps.ended.saturating_add(1);
                    self.coverage.add(reader.complete_since());
                    self.live.swap_remove(self.turn);
                    return Err(e);
                }
            };
            match reading {
                Reading::Entry(entry) => {
                    if self.is_wanted(&entry, false) {
                        return Ok(Some(entry));
                    }
                    idle = 0;
                }
                Reading::Nothing => {
                    idle = idle.saturating_add(1);
                    self.turn = self.turn.saturating_add(1);
                }
                Reading::End => {
                    self.coverage.add(reader.complete_since());
                    self.live.swap_remove(self.turn);
                    idle = 0;
                }
            }
        }
        Ok(None)
    }

    /// Whether an entry is of the wanted time, and was not reported already. Lines that cannot be read
    /// have no time, and are wanted anyway.
    fn is_wanted(&mut self, entry: &Entry, is_history: bool) -> bool {
        let Entry::Event(event) = entry else {
            return true;
        };
        if let Some(since) = self.since {
            match event.stamp.as_ref().and_then(time_of) {
                Some(time) if time >= since => {}
                Some(_) => return false,
                None => {
                    self.gaps.undated = self.gaps.undated.saturating_add(1);
                    return false;
                }
            }
        }
        match &mut self.duplicates {
            Some(duplicates) if is_history => duplicates.note(event),
            Some(duplicates) => !duplicates.was_reported(event),
            None => true,
        }
    }

    /// Waits for more; whether the descriptor to wake for is readable.
    fn wait(&self, limit: Option<Duration>) -> Result<bool> {
        let readers = || {
            self.history
                .front()
                .into_iter()
                .chain(match self.history.is_empty() {
                    true => self.live.iter(),
                    false => [].iter(),
                })
        };
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        for wake in &self.wake {
            fds.push(PollFd::from_borrowed_fd(wake.as_fd(), PollFlags::IN));
        }
        let mut blind = false;
        for reader in readers() {
            match reader.descriptor() {
                Some(fd) => fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN)),
                None => blind = true,
            }
        }
        let look = match blind {
            true => LOOK,
            // Readers have limits of their own for programs that they wait for.
            false => Duration::from_secs(1),
        };
        let limit = limit.map_or(look, |limit| limit.min(look));
        let limit = Timespec::try_from(limit).unwrap_or(Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        });
        match poll(&mut fds, Some(&limit)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(e) => {
                let why = format!("cannot wait for events: {}", reason(&e.into()));
                return Err(Error::new(Kind::Internal, why));
            }
        }
        let mut wakers = fds.iter().take(self.wake.len());
        Ok(wakers.any(|fd| !fd.revents().is_empty()))
    }
}

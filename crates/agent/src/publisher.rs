//! When what is sent to the API server about this node. Pure.
//!
//! - The object is applied when it has changed; if nothing but counts has changed, at most every five
//!   minutes; and every six hours in any case, because the agent may not read it: an object that was
//!   deleted or edited is then as it should be again.
//! - A refused profile makes one event for each reason, and few events at a time.
//! - After a failure that may pass, it waits a little; after one that an administrator has to end, it
//!   waits long.

use std::collections::BTreeSet;
use std::time::Duration;

use oci_apparmor_node_status::{ContainerCounts, NodeStatus};
use tokio::time::Instant;

use crate::api_object::RefusalEvent;
use crate::backoff::{Backoff, random};

/// The least time between two requests: watches go before.
const PAUSE: Duration = Duration::from_secs(15);

/// The least time between two changes of nothing but counts.
const COUNTS_EVERY: Duration = Duration::from_secs(300);

/// How much longer that may be: not all nodes at once.
const COUNTS_SPREAD: Duration = Duration::from_secs(60);

/// The longest time until it is sent again, and how much longer that may be: not all nodes at once.
const AGAIN: Duration = Duration::from_secs(6 * 3_600);
const AGAIN_SPREAD: Duration = Duration::from_secs(3_600);

/// The longest wait after a failure that may pass.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The first and the longest wait after one that has to be ended.
const FIRST_RARE: Duration = Duration::from_secs(600);
const LONGEST_RARE: Duration = Duration::from_secs(6 * 3_600);

/// How many events are sent at once, and after which time there may be one more.
const EVENTS: u32 = 10;
const EVENT_EVERY: Duration = Duration::from_secs(360);

/// How many events are remembered.
const MAX_REMEMBERED: usize = 1_000;

/// Something to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportRequest {
    /// The object with this status.
    Apply(Box<NodeStatus>),
    /// An event.
    Announce(RefusalEvent),
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportOutcome {
    /// The API server has it.
    Done,
    /// It does not.
    Failed {
        /// The code of its answer; nothing where it did not answer.
        code: Option<u16>,
        /// For how long it asks to wait.
        wait: Duration,
        /// What it said.
        why: String,
    },
}

/// Something to say in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportNote {
    /// It fails, and how.
    Fails(String),
    /// It works again.
    Works,
}

/// What is known of one kind of requests.
#[derive(Debug)]
struct Channel {
    not_before: Option<Instant>,
    soon: Backoff,
    rare: Backoff,
    failure: Option<String>,
}

impl Channel {
    fn new() -> Self {
        Self {
            not_before: None,
            soon: Backoff::at_most(LONGEST_WAIT),
            rare: Backoff::between(FIRST_RARE, LONGEST_RARE),
            failure: None,
        }
    }

    fn is_open(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|time| time <= now)
    }

    fn worked(&mut self) -> Option<ReportNote> {
        self.not_before = None;
        self.soon.reset();
        self.rare.reset();
        self.failure.take().map(|_| ReportNote::Works)
    }

    fn failed(
        &mut self,
        code: Option<u16>,
        wait: Duration,
        why: String,
        now: Instant,
    ) -> Option<ReportNote> {
        let own = match code {
            // No right, no definition, or an object that the definition refuses.
            Some(400 | 403 | 404 | 405 | 415 | 422) => self.rare.wait(),
            _ => self.soon.wait(),
        };
        self.not_before = now.checked_add(own.max(wait.min(LONGEST_RARE)));
        let is_new = self.failure.as_ref() != Some(&why);
        self.failure = Some(why.clone());
        is_new.then_some(ReportNote::Fails(why))
    }
}

/// Decides what is sent next.
#[derive(Debug)]
pub struct ReportPublisher {
    objects: Channel,
    events: Channel,
    last: Option<Instant>,
    sent: Option<Sent>,
    announced: BTreeSet<String>,
    /// How many events may be sent, since when.
    budget: (u32, Instant),
}

#[derive(Debug)]
struct Sent {
    status: NodeStatus,
    at: Instant,
    again: Duration,
    counts_after: Duration,
}

impl ReportPublisher {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            objects: Channel::new(),
            events: Channel::new(),
            last: None,
            sent: None,
            announced: BTreeSet::new(),
            budget: (EVENTS, now),
        }
    }

    /// What is to be sent now, if anything. `node`: the name of the node, for events. `is_bound`:
    /// whether the object can be written at all.
    pub fn next(
        &mut self,
        wanted: &NodeStatus,
        node: &str,
        is_bound: bool,
        now: Instant,
    ) -> Option<ReportRequest> {
        if self
            .last
            .is_some_and(|last| now.duration_since(last) < PAUSE)
        {
            return None;
        }
        self.refill(now);
        let request = if is_bound && self.objects.is_open(now) && self.is_due(wanted, now) {
            ReportRequest::Apply(Box::new(wanted.clone()))
        } else if self.budget.0 > 0 && self.events.is_open(now) {
            let mut events = wanted.refused().map(|p| RefusalEvent::of(node, p));
            let event = events.find(|event| !self.announced.contains(&event.name))?;
            self.budget.0 = self.budget.0.saturating_sub(1);
            ReportRequest::Announce(event)
        } else {
            return None;
        };
        self.last = Some(now);
        Some(request)
    }

    /// Takes in what became of it.
    pub fn done(
        &mut self,
        request: ReportRequest,
        outcome: ReportOutcome,
        now: Instant,
    ) -> Option<ReportNote> {
        match (request, outcome) {
            (ReportRequest::Apply(status), ReportOutcome::Done) => {
                self.sent = Some(Sent {
                    status: *status,
                    at: now,
                    again: AGAIN.saturating_add(random(AGAIN_SPREAD)),
                    counts_after: COUNTS_EVERY.saturating_add(random(COUNTS_SPREAD)),
                });
                self.objects.worked()
            }
            (ReportRequest::Apply(_), ReportOutcome::Failed { code, wait, why }) => {
                self.objects.failed(code, wait, why, now)
            }
            // An event of this name exists: it is the same one.
            (
                ReportRequest::Announce(event),
                ReportOutcome::Done
                | ReportOutcome::Failed {
                    code: Some(409), ..
                },
            ) => {
                if self.announced.len() >= MAX_REMEMBERED {
                    self.announced.clear();
                }
                self.announced.insert(event.name);
                self.events.worked()
            }
            (ReportRequest::Announce(_), ReportOutcome::Failed { code, wait, why }) => {
                self.events.failed(code, wait, why, now)
            }
        }
    }

    fn is_due(&self, wanted: &NodeStatus, now: Instant) -> bool {
        let Some(sent) = &self.sent else { return true };
        let since = now.duration_since(sent.at);
        if sent.status == *wanted {
            return since >= sent.again;
        }
        since >= sent.counts_after || without_counts(&sent.status) != without_counts(wanted)
    }

    fn refill(&mut self, now: Instant) {
        let (left, since) = &mut self.budget;
        while *left < EVENTS {
            match since.checked_add(EVENT_EVERY) {
                Some(next) if next <= now => (*left, *since) = (left.saturating_add(1), next),
                _ => return,
            }
        }
        *since = now;
    }
}

/// The status without what changes all the time: denials, and containers with the right label.
fn without_counts(status: &NodeStatus) -> NodeStatus {
    let wrong = status.containers.map(|containers| containers.wrong);
    NodeStatus {
        denials: None,
        containers: wrong.map(|wrong| ContainerCounts {
            wrong,
            ..ContainerCounts::default()
        }),
        ..status.clone()
    }
}

#[cfg(test)]
mod tests;

#![allow(clippy::arithmetic_side_effects)]

use oci_apparmor_node_status::{ConditionVerdict, DenialCounts, NodeProfile, ProfileState, READY};
use proptest::prelude::*;
use std::time::UNIX_EPOCH;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// A publisher and its clock.
struct Clock {
    publisher: ReportPublisher,
    start: Instant,
    now: Instant,
}

impl Clock {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            publisher: ReportPublisher::new(now),
            start: now,
            now,
        }
    }

    /// What is sent within this time, and when; each request ends like this.
    fn during(
        &mut self,
        time: Duration,
        wanted: &NodeStatus,
        outcome: &ReportOutcome,
    ) -> Vec<(Duration, ReportRequest)> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while self.now < end {
            if let Some(request) = self.publisher.next(wanted, "n", true, self.now) {
                sent.push((self.now - self.start, request.clone()));
                self.publisher.done(request, outcome.clone(), self.now);
            }
            self.now += Duration::from_secs(5);
        }
        sent
    }
}

fn applied(sent: &[(Duration, ReportRequest)]) -> usize {
    let applied = |r: &&(Duration, ReportRequest)| matches!(r.1, ReportRequest::Apply(_));
    sent.iter().filter(applied).count()
}

fn failure(code: u16) -> ReportOutcome {
    ReportOutcome::Failed {
        code: (code > 0).then_some(code),
        wait: Duration::ZERO,
        why: code.to_string(),
    }
}

fn ready(reason: &'static str) -> NodeStatus {
    let mut status = NodeStatus::default();
    let verdict = ConditionVerdict::unknown(reason, "why");
    status.set_condition(READY, verdict, UNIX_EPOCH);
    status
}

fn denied(total: u64) -> NodeStatus {
    NodeStatus {
        denials: Some(DenialCounts {
            total,
            ..DenialCounts::default()
        }),
        ..ready("a")
    }
}

fn refused(count: usize) -> NodeStatus {
    let profile = |n: usize| NodeProfile {
        name: format!("p{n}"),
        state: ProfileState::Refused,
        reason: Some("why".to_owned()),
    };
    let mut status = NodeStatus::default();
    status.set_profiles((0..count).map(profile).collect());
    status
}

#[test]
fn it_is_sent_once_and_again_after_hours() {
    let mut clock = Clock::new();
    let done = ReportOutcome::Done;
    assert_eq!(applied(&clock.during(MINUTE, &ready("a"), &done)), 1);
    assert_eq!(clock.during(5 * HOUR, &ready("a"), &done), []);
    let again = clock.during(48 * HOUR, &ready("a"), &done);
    assert!((6..=8).contains(&again.len()), "{}", again.len());
}

#[test]
fn a_change_is_sent_soon_and_counts_are_sent_rarely() {
    let mut clock = Clock::new();
    let done = ReportOutcome::Done;
    clock.during(MINUTE, &denied(0), &done);
    assert_eq!(applied(&clock.during(MINUTE, &ready("b"), &done)), 1);
    clock.during(MINUTE, &denied(0), &done);
    let mut sent = 0;
    for minute in 0..60 {
        sent += applied(&clock.during(MINUTE, &denied(minute), &done));
    }
    assert!((10..=12).contains(&sent), "{sent}");
    // It flaps.
    let mut sent = 0;
    for n in 0..120 {
        let status = if n % 2 == 0 { ready("a") } else { ready("b") };
        sent += applied(&clock.during(Duration::from_secs(5), &status, &done));
    }
    assert!(sent <= 40, "{sent}");
}

#[test]
fn failures_that_pass_are_tried_soon_and_others_rarely() {
    for (code, least, most) in [
        (0, 10, 25),
        (409, 10, 25),
        (429, 10, 25),
        (503, 10, 25),
        (401, 10, 25),
        (403, 1, 4),
        (404, 1, 4),
        (422, 1, 4),
    ] {
        let mut clock = Clock::new();
        let sent = clock.during(HOUR, &ready("a"), &failure(code));
        assert!(
            (least..=most).contains(&sent.len()),
            "{code}: {}",
            sent.len()
        );
        // It is logged once.
        let request = ReportRequest::Apply(Box::new(ready("a")));
        let publisher = &mut clock.publisher;
        assert_eq!(
            publisher.done(request.clone(), failure(code), clock.now),
            None
        );
        let works = publisher.done(request, ReportOutcome::Done, clock.now);
        assert_eq!(works, Some(ReportNote::Works));
    }
    let mut clock = Clock::new();
    let asked = ReportOutcome::Failed {
        code: Some(429),
        wait: HOUR,
        why: String::new(),
    };
    assert_eq!(clock.during(HOUR, &ready("a"), &asked).len(), 1);
}

#[test]
fn the_last_state_is_sent_when_the_api_is_back() {
    let mut clock = Clock::new();
    clock.during(HOUR, &ready("a"), &ReportOutcome::Done);
    clock.during(24 * HOUR, &ready("b"), &failure(0));
    let sent = clock.during(10 * MINUTE, &ready("c"), &ReportOutcome::Done);
    let [(_, ReportRequest::Apply(status))] = &*sent else {
        panic!("{sent:?}")
    };
    assert_eq!(**status, ready("c"));
}

#[test]
fn each_refusal_is_announced_once_and_few_at_a_time() {
    let mut clock = Clock::new();
    let done = ReportOutcome::Done;
    let sent = clock.during(10 * MINUTE, &refused(3), &done);
    assert_eq!((sent.len(), applied(&sent)), (4, 1));
    assert_eq!(clock.during(HOUR, &refused(3), &done), []);
    // It goes, and comes again.
    clock.during(MINUTE, &refused(0), &done);
    let sent = clock.during(MINUTE, &refused(3), &done);
    assert_eq!(applied(&sent), sent.len());
    // Many at once.
    let sent = clock.during(HOUR, &refused(200), &done);
    let events = sent.len() - applied(&sent);
    assert!((10..=20).contains(&events), "{events}");
    // The agent was restarted, and its events exist.
    let mut clock = Clock::new();
    let sent = clock.during(HOUR, &refused(3), &failure(409));
    let events = sent.len() - applied(&sent);
    assert_eq!(events, 3);
}

#[test]
fn a_right_that_is_missing_for_events_does_not_stop_the_object() {
    let mut clock = Clock::new();
    let mut sent = 0;
    for n in 1..=10 {
        let status = refused(n);
        let request = clock.publisher.next(&status, "n", true, clock.now);
        match request {
            Some(request @ ReportRequest::Apply(_)) => {
                sent += 1;
                clock
                    .publisher
                    .done(request, ReportOutcome::Done, clock.now);
            }
            Some(request) => drop(clock.publisher.done(request, failure(403), clock.now)),
            None => {}
        }
        clock.now += MINUTE;
    }
    assert!(sent >= 9, "{sent}");
    // And without a node in the token, there are events only.
    let mut publisher = ReportPublisher::new(clock.now);
    let next = publisher.next(&refused(1), "n", false, clock.now);
    assert!(matches!(next, Some(ReportRequest::Announce(_))));
}

proptest! {
    /// Whatever happens, the pause is kept, and the API has the last state soon after it is well.
    #[test]
    fn the_last_state_arrives(steps in proptest::collection::vec((0..4_usize, 0..3_u64, 0..7_usize, 1..400_u64), 1..40)) {
        let mut clock = Clock::new();
        let outcomes = [ReportOutcome::Done, failure(0), failure(403), failure(409), failure(422), failure(429), failure(503)];
        let mut last: Option<Duration> = None;
        let mut wanted = NodeStatus::default();
        let mut api = None;
        for (refusals, total, outcome, seconds) in steps {
            wanted = NodeStatus { denials: denied(total).denials, ..refused(refusals) };
            for (at, request) in clock.during(Duration::from_secs(seconds), &wanted, &outcomes[outcome]) {
                if let Some(last) = last {
                    prop_assert!(at - last >= PAUSE);
                }
                last = Some(at);
                if let (ReportRequest::Apply(status), 0) = (request, outcome) {
                    api = Some(*status);
                }
            }
        }
        for (_, request) in clock.during(LONGEST_RARE + HOUR, &wanted, &ReportOutcome::Done) {
            if let ReportRequest::Apply(status) = request {
                api = Some(*status);
            }
        }
        prop_assert_eq!(api, Some(wanted));
    }
}

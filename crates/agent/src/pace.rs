//! How long to wait before the API server is asked again. Many nodes ask it: what happens to one
//! happens to all of them at the same time, so each waits a random time.

use std::time::Duration;

use crate::answers::Trouble;
use crate::backoff::{Backoff, random};

/// The longest wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The longest time after which is looked whether a kind is served now.
const LONGEST_ABSENCE: Duration = Duration::from_secs(600);

/// The longest wait after a watch was cut: the API server has gone, and with it the watches of all
/// nodes. Failures that follow wait at least a random part of it.
const RECONNECT: Duration = Duration::from_secs(30);

/// The longest wait before everything is listed again.
const LIST_AGAIN: Duration = Duration::from_secs(60);

/// How long a watch lasts: 240 to 290 s, so that those that began together do not end together.
const WATCH: Duration = Duration::from_secs(240);
const WATCH_MORE: Duration = Duration::from_secs(50);

/// When one kind of objects is asked for again.
#[derive(Debug)]
pub(crate) struct RequestPace {
    after_failure: Backoff,
    while_absent: Backoff,
    /// Whether a list was whole once. Before, the node may have no profiles, and waits less.
    known: bool,
}

impl RequestPace {
    pub(crate) fn new() -> Self {
        Self {
            after_failure: Backoff::at_most(LONGEST_WAIT),
            while_absent: Backoff::at_most(LONGEST_ABSENCE),
            known: false,
        }
    }

    /// How long a watch is to last.
    pub(crate) fn watch() -> Duration {
        WATCH.saturating_add(random(WATCH_MORE))
    }

    /// A request was answered.
    pub(crate) fn worked(&mut self) {
        self.after_failure.reset();
    }

    /// A list was whole.
    pub(crate) fn listed(&mut self) {
        self.known = true;
    }

    /// The kind is served.
    pub(crate) fn served(&mut self) {
        self.while_absent.reset();
    }

    /// The wait until it is looked whether the kind is served.
    pub(crate) fn absent(&mut self) -> Duration {
        self.while_absent.wait()
    }

    /// The wait after a kind was not found that was there before.
    pub(crate) fn gone(&mut self) -> Duration {
        self.after_failure.wait()
    }

    /// The wait after a watch was cut.
    pub(crate) fn cut() -> Duration {
        random(RECONNECT)
    }

    /// The wait after a request failed.
    pub(crate) fn failed(&mut self, trouble: &Trouble) -> Duration {
        let wait = self.after_failure.wait();
        let wait = match self.known {
            true => wait.max(random(RECONNECT)),
            false => wait,
        };
        match trouble {
            // The API server tells all nodes the same.
            Trouble::Refused {
                retry_after: Some(asked),
                ..
            } => wait.max(asked.saturating_add(random(*asked))),
            _ => wait,
        }
    }

    /// The wait before everything is listed again.
    pub(crate) fn list_again(&mut self) -> Duration {
        let wait = self.after_failure.wait();
        match self.known {
            true => wait.max(random(LIST_AGAIN)),
            false => wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_to_all_nodes_is_spread_over_time() {
        let late = |wait: fn(&mut RequestPace) -> Duration, known: bool| {
            let waits = (0..200).map(|_| {
                let mut pace = RequestPace::new();
                pace.known = known;
                wait(&mut pace)
            });
            waits.filter(|wait| *wait > Duration::from_secs(10)).count()
        };
        let failed = |pace: &mut RequestPace| pace.failed(&Trouble::Silent);
        assert!(late(failed, true) > 50 && late(RequestPace::list_again, true) > 50);
        assert!(late(|_| RequestPace::cut(), true) > 50);
        // A node that knows nothing yet waits less.
        assert_eq!(
            late(failed, false) + late(RequestPace::list_again, false),
            0
        );
        let asked = Trouble::Refused {
            code: 429,
            retry_after: Some(Duration::from_secs(7)),
            said: String::new(),
        };
        let waits: Vec<Duration> = (0..50).map(|_| RequestPace::new().failed(&asked)).collect();
        let within = Duration::from_secs(7)..=Duration::from_secs(14);
        assert!(waits.iter().all(|wait| within.contains(wait)), "{waits:?}");
    }
}

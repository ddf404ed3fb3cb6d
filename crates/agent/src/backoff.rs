//! Waiting: longer after each failure, and not the same on each node.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_secs(1);

/// The time to wait after a failure.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Waits at most so long.
    #[must_use]
    pub fn at_most(longest: Duration) -> Self {
        Self::between(FIRST, longest)
    }

    /// Waits about `first` at first, and at most `longest`.
    #[must_use]
    pub fn between(first: Duration, longest: Duration) -> Self {
        let first = first.min(longest);
        Self {
            first,
            next: first,
            longest,
        }
    }

    /// How long to wait now; the next wait is twice as long.
    pub fn wait(&mut self) -> Duration {
        let half = self.next.checked_div(2).unwrap_or_default();
        self.next = self.next.saturating_mul(2).min(self.longest);
        half.saturating_add(random(half))
    }

    /// It worked.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A random time up to `longest`, so that 5,000 nodes do not ask in the same second. The standard
/// library seeds each `RandomState` anew.
#[must_use]
pub fn random(longest: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random.checked_rem(millis.saturating_add(1)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit_and_differ() {
        let longest = Duration::from_secs(30);
        let mut backoff = Backoff::at_most(longest);
        let first = backoff.wait();
        assert!(first >= FIRST / 2 && first <= FIRST, "{first:?}");
        for _ in 0..10 {
            assert!(backoff.wait() <= longest);
        }
        assert!(backoff.wait() >= longest / 2);
        let some: std::collections::BTreeSet<_> = (0..20).map(|_| random(longest)).collect();
        assert!(some.len() > 10, "{some:?}");
        backoff.reset();
        assert!(backoff.wait() <= FIRST);
    }
}

//! Times the calls, in turn.

use crate::contenders::Contender;

/// Rounds that only fill the caches.
const WARM_UP: usize = 5;

/// The times of one call, in milliseconds.
pub(crate) struct Time {
    pub(crate) minimum: f64,
    pub(crate) median: f64,
}

/// Measures; the times are in the order of the contenders.
pub(crate) fn measure(contenders: &[Contender], rounds: usize) -> Vec<Time> {
    let mut all = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..rounds + WARM_UP {
        for (contender, times) in contenders.iter().zip(&mut all) {
            let time = contender.time();
            if round >= WARM_UP {
                times.push(time.as_secs_f64() * 1e3);
            }
        }
    }
    let summed = all.iter_mut().map(|times| {
        times.sort_by(f64::total_cmp);
        Time {
            minimum: times[0],
            median: times[times.len() / 2],
        }
    });
    summed.collect()
}

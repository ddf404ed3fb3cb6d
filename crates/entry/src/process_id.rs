//! The id of this process, for which the kernel is asked once.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// No process has this id.
const UNKNOWN: u32 = 0;

static OWN: AtomicU32 = AtomicU32::new(UNKNOWN);

/// The id of this process. As [`std::process::id`], which makes a system call each time.
#[must_use]
pub fn own() -> u32 {
    match OWN.load(Relaxed) {
        UNKNOWN => {
            let id = std::process::id();
            OWN.store(id, Relaxed);
            id
        }
        id => id,
    }
}

/// To be called in a copy of this process, which has another id.
pub(crate) fn forget() {
    OWN.store(UNKNOWN, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_this_process() {
        for _ in 0..2 {
            assert_eq!(own(), std::process::id());
        }
        forget();
        assert_eq!(own(), std::process::id());
    }
}

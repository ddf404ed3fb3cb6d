//! A call that waits for ever ends at its limit, also if the signal was blocked and ignored before.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::File;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use oci_apparmor_entry::interrupt;

/// The lock of a file that is held elsewhere: flock(2) waits.
fn locked_twice(limit: Duration) -> (std::io::Result<()>, Duration) {
    let path = std::env::temp_dir().join(format!("interrupt-{:?}", std::thread::current().id()));
    let (holder, waiter) = (File::create(&path).unwrap(), File::open(&path).unwrap());
    holder.lock().unwrap();
    let before = Instant::now();
    let locked = interrupt::after(limit, || waiter.lock()).unwrap();
    std::fs::remove_file(path).unwrap();
    (locked, before.elapsed())
}

#[test]
fn a_call_that_waits_ends_at_the_limit_of_its_own_thread() {
    let limits = [30, 200, 90].map(Duration::from_millis);
    std::thread::scope(|scope| {
        for limit in limits {
            scope.spawn(move || {
                let (locked, took) = locked_twice(limit);
                assert_eq!(locked.unwrap_err().kind(), ErrorKind::Interrupted);
                assert!(
                    took >= limit && took < limit + Duration::from_secs(5),
                    "{took:?}"
                );
            });
        }
    });
}

#[test]
fn a_signal_that_is_blocked_and_ignored_interrupts_all_the_same() {
    let blocked = |how: libc::c_int| {
        // SAFETY: the pointers are to values of this function, for which zero is a value.
        unsafe {
            let (mut alarm, mut before): (libc::sigset_t, libc::sigset_t) = std::mem::zeroed();
            libc::sigemptyset(&raw mut alarm);
            libc::sigaddset(&raw mut alarm, libc::SIGALRM);
            libc::pthread_sigmask(how, &raw const alarm, &raw mut before);
            libc::sigismember(&raw const before, libc::SIGALRM) == 1
        }
    };
    // SAFETY: SIG_IGN is no function.
    unsafe { libc::signal(libc::SIGALRM, libc::SIG_IGN) };
    blocked(libc::SIG_BLOCK);
    let (locked, took) = locked_twice(Duration::from_millis(50));
    assert!(locked.is_err() && took >= Duration::from_millis(50));
    assert!(blocked(libc::SIG_UNBLOCK), "it is blocked again");
}

#[test]
fn no_limit_is_left_behind() {
    let done = interrupt::after(Duration::from_millis(1), || 5).unwrap();
    assert_eq!(done, 5);
    // The signal would end a process that does not handle it, and interrupt one that does.
    std::thread::sleep(Duration::from_millis(50));
    let (locked, took) = locked_twice(Duration::from_millis(100));
    assert!(locked.is_err() && took >= Duration::from_millis(100));
}

//! A time limit for system calls that have none, as flock(2).

use std::io;
use std::mem;
use std::ptr;
use std::time::Duration;

use libc::{c_int, c_long};

/// The signal that interrupts.
const SIGNAL: c_int = libc::SIGALRM;

/// How often the signal is sent again: it may come just before the call.
const AGAIN: Duration = Duration::from_millis(10);

/// Runs `work`. After `limit`, and again each 10 ms, the system call in which it waits fails with
/// [`io::ErrorKind::Interrupted`]. `work` then has to return.
///
/// # Errors
/// If the kernel has no timer left, see timer_create(2).
pub fn after<T>(limit: Duration, work: impl FnOnce() -> T) -> io::Result<T> {
    let _handled = Handled::new()?;
    let _timer = Timer::new(limit)?;
    Ok(work())
}

/// The signal is let through and handled by a function that does nothing.
struct Handled {
    /// The signals that the thread blocked before.
    blocked: libc::sigset_t,
    was_ignored: bool,
}

impl Handled {
    fn new() -> io::Result<Self> {
        // SAFETY: both types are C structures of numbers and pointers, for which zero is a value.
        let (mut action, mut former): (libc::sigaction, libc::sigaction) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        // Without SA_RESTART, the system call is not started again.
        action.sa_sigaction = nothing as extern "C" fn(c_int) as libc::sighandler_t;
        // SAFETY: the handler only returns, and both pointers are to values of this function.
        checked(unsafe { libc::sigaction(SIGNAL, &raw const action, &raw mut former) })?;
        // SAFETY: as above.
        let (mut signal, mut blocked): (libc::sigset_t, libc::sigset_t) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        // SAFETY: the pointers are to values of this function.
        unsafe {
            libc::sigemptyset(&raw mut signal);
            libc::sigaddset(&raw mut signal, SIGNAL);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const signal, &raw mut blocked);
        }
        Ok(Self {
            blocked,
            was_ignored: former.sa_sigaction == libc::SIG_IGN,
        })
    }
}

impl Drop for Handled {
    /// What a program that is executed then inherits is as before. A handler is not inherited, so it
    /// can stay: another thread may be waiting.
    fn drop(&mut self) {
        let former = &raw const self.blocked;
        // SAFETY: the pointer is to a value that the kernel has filled.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, former, ptr::null_mut()) };
        if self.was_ignored {
            // SAFETY: SIG_IGN is no function.
            unsafe { libc::signal(SIGNAL, libc::SIG_IGN) };
        }
    }
}

extern "C" fn nothing(_: c_int) {}

/// A timer of the kernel that sends the signal to this thread. That of the C library would bring
/// threads with it.
struct Timer(c_int);

impl Timer {
    fn new(limit: Duration) -> io::Result<Self> {
        // SAFETY: a C structure of numbers and pointers, for which zero is a value.
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        event.sigev_signo = SIGNAL;
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        // SAFETY: no memory is passed.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let (clock, mut id) = (libc::CLOCK_MONOTONIC, -1);
        // SAFETY: the pointers are to values of this function, of the types of timer_create(2).
        checked(unsafe {
            libc::syscall(libc::SYS_timer_create, clock, &raw const event, &raw mut id)
        })?;
        let timer = Self(id);
        let times = libc::itimerspec {
            it_interval: timespec(AGAIN),
            // Zero would be no limit.
            it_value: timespec(limit.max(Duration::from_nanos(1))),
        };
        let former = ptr::null_mut::<libc::itimerspec>();
        // SAFETY: the pointer is to a value of this function; no former time is asked for.
        checked(unsafe {
            libc::syscall(libc::SYS_timer_settime, id, 0, &raw const times, former)
        })?;
        Ok(timer)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // A signal that is pending is handled before this returns.
        // SAFETY: no memory is passed, and the timer is this value's.
        unsafe { libc::syscall(libc::SYS_timer_delete, self.0) };
    }
}

fn timespec(duration: Duration) -> libc::timespec {
    // SAFETY: a C structure of numbers, which has padding on some systems.
    let mut time: libc::timespec = unsafe { mem::zeroed() };
    time.tv_sec = libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX);
    // Less than 10⁹ is in the range of every type that it has.
    time.tv_nsec = duration.subsec_nanos() as _;
    time
}

fn checked(returned: impl Into<c_long>) -> io::Result<()> {
    match returned.into() {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

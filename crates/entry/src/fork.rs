//! A copy of this process that runs a function: fork(2) without execve(2).
//!
//! A second start of the program takes about as long as everything else that the wrapper does. A copy
//! has what it needs already.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::thread;
use std::time::Duration;

use crate::process_id;

/// How often, each millisecond, the kernel is asked whether other threads have ended. One that was
/// joined may not have left the kernel yet, and a busy node may take its time.
const ATTEMPTS: u32 = 5000;

/// Runs `work` in a copy of this process, which then exits with the code that it returns. Returns the
/// process id of the copy.
///
/// The copy has the descriptors, the environment and the command line of this process. Nothing that
/// `work` does not own is dropped in it, and no handler of atexit(3) is called.
///
/// # Errors
/// Those of fork(2), and [`io::ErrorKind::ResourceBusy`] if this process has another thread.
pub fn child(work: impl FnOnce() -> u8) -> io::Result<i32> {
    require_one_thread()?;
    // SAFETY: what makes fork(2) unsafe are other threads. The copy has only the calling one, so a
    // lock that another thread holds stays locked in it, and what that thread was changing stays half
    // changed. There is no other thread, and only a thread of this process could start one. So the
    // copy has the whole state of this process, and may do what this process may do.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            process_id::forget();
            // A panic must not unwind into the functions that called this one.
            let unwinding = Aborts;
            let code = work();
            std::mem::forget(unwinding);
            // SAFETY: it only ends the process.
            unsafe { libc::_exit(i32::from(code)) }
        }
        pid => Ok(pid),
    }
}

/// Closes every descriptor of this process except the standard three and these. To be called in a
/// [`child`]: the values that own the other descriptors are never used or dropped there.
///
/// # Errors
/// If the kernel has no close_range(2) (before Linux 5.9) and the open descriptors cannot be listed.
pub fn close_except(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).collect();
    kept.sort_unstable();
    let mut first: RawFd = 3;
    for fd in kept.iter().copied().filter(|fd| *fd >= 3) {
        if first < fd && !close_range(first, fd.saturating_sub(1)) {
            return close_listed(&kept);
        }
        first = fd.saturating_add(1);
    }
    match close_range(first, RawFd::MAX) {
        true => Ok(()),
        false => close_listed(&kept),
    }
}

/// Closes these and those between them; whether the kernel can.
fn close_range(first: RawFd, last: RawFd) -> bool {
    // SAFETY: no memory is passed. That nothing uses the descriptors any more is required by
    // `close_except`.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) == 0 }
}

fn close_listed(kept: &[RawFd]) -> io::Result<()> {
    let mut open = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let fd = entry?.file_name().to_str().and_then(|fd| fd.parse().ok());
        open.extend(fd.filter(|fd: &RawFd| *fd > 2 && !kept.contains(fd)));
    }
    for fd in open {
        // SAFETY: as for `close_range`. That of the list itself is closed already, which is EBADF.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

fn require_one_thread() -> io::Result<()> {
    for _ in 0..ATTEMPTS {
        // unshare(2): "if the caller is single threaded (i.e., it is not sharing its address space
        // with another process or thread)", this has no effect, and otherwise it fails.
        // SAFETY: no memory is passed, and nothing is changed.
        if unsafe { libc::unshare(libc::CLONE_VM) } == 0 {
            return Ok(());
        }
        let why = io::Error::last_os_error();
        if why.raw_os_error() != Some(libc::EINVAL) {
            return Err(why);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        "this process has another thread",
    ))
}

/// Ends the process if it is dropped.
struct Aborts;

impl Drop for Aborts {
    fn drop(&mut self) {
        std::process::abort();
    }
}

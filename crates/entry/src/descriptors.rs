//! Descriptors that a child must not get.

use std::fs;
use std::io;
use std::os::fd::RawFd;

/// Runs `work`, and while it runs, a program that is executed gets none of the descriptors that this
/// process was started with, but for the standard three.
///
/// # Errors
/// If the open descriptors cannot be listed or changed.
pub fn kept_from_children<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    // Changed back when this returns, also by an error.
    let mut kept = Kept(Vec::new());
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let fd = name.to_str().and_then(|fd| fd.parse::<RawFd>().ok());
        let Some(fd) = fd.filter(|fd| *fd > 2) else {
            continue;
        };
        match flags(fd) {
            Ok(flags) if flags & libc::FD_CLOEXEC == 0 => {
                set_flags(fd, libc::FD_CLOEXEC)?;
                kept.0.push(fd);
            }
            // Another thread has closed it meanwhile: it was opened here.
            Err(e) if e.raw_os_error() != Some(libc::EBADF) => return Err(e),
            _ => {}
        }
    }
    Ok(work())
}

struct Kept(Vec<RawFd>);

impl Drop for Kept {
    fn drop(&mut self) {
        for fd in &self.0 {
            // It has no other flag, so this is what it had.
            let _ = set_flags(*fd, 0);
        }
    }
}

fn flags(fd: RawFd) -> io::Result<i32> {
    // SAFETY: no memory is passed, and nothing is changed.
    match unsafe { libc::fcntl(fd, libc::F_GETFD) } {
        -1 => Err(io::Error::last_os_error()),
        flags => Ok(flags),
    }
}

fn set_flags(fd: RawFd, flags: i32) -> io::Result<()> {
    // SAFETY: no memory is passed. The descriptor stays what it is for its owner.
    match unsafe { libc::fcntl(fd, libc::F_SETFD, flags) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

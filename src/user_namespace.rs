//! The user of this process, and its user namespace. A process leaves either only by system calls
//! that are never made here, so each is looked up once.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

/// The inode number of the initial user namespace, on every kernel since 3.8 (`PROC_USER_INIT_INO`,
/// include/linux/proc_ns.h; `USER_NS_INIT_INO`, include/uapi/linux/nsfs.h).
const INITIAL: u64 = 0xEFFF_FFFD;

/// The effective user id of this process.
#[must_use]
pub fn effective_uid() -> u32 {
    static UID: OnceLock<u32> = OnceLock::new();
    *UID.get_or_init(|| nix::unistd::geteuid().as_raw())
}

/// Whether the effective user is root of this user namespace.
#[must_use]
pub fn is_root() -> bool {
    effective_uid() == 0
}

/// Whether this process is in the initial user namespace. If that cannot be told, it is not.
#[must_use]
pub fn is_initial() -> bool {
    static IS_INITIAL: OnceLock<bool> = OnceLock::new();
    *IS_INITIAL.get_or_init(|| {
        fs::metadata("/proc/self/ns/user").is_ok_and(|namespace| namespace.ino() == INITIAL)
    })
}

//! The user namespace of this process.

use std::fs;
use std::sync::OnceLock;

/// Whether this process is in the initial user namespace, the only one that maps every uid to
/// itself.
#[must_use]
pub fn is_initial() -> bool {
    // A process leaves it only by unshare(CLONE_NEWUSER) or setns(2), which are never called here.
    static INITIAL: OnceLock<bool> = OnceLock::new();
    *INITIAL.get_or_init(|| {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        map.split_whitespace().eq(["0", "0", "4294967295"])
    })
}

//! The user of this process, and its user namespace. A process leaves either only by system calls
//! that are never made here, so each is looked up once.

use std::fs::File;
use std::io::Read;
use std::sync::OnceLock;

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

/// Whether this process is in the initial user namespace, the only one that maps every uid to
/// itself.
#[must_use]
pub fn is_initial() -> bool {
    static INITIAL: OnceLock<bool> = OnceLock::new();
    *INITIAL.get_or_init(|| {
        // procfs returns the whole map in the first read; a longer one is not the initial one.
        let mut map = [0; 64];
        let length = File::open("/proc/self/uid_map").and_then(|mut file| file.read(&mut map));
        let text = length.ok().and_then(|length| map.get(..length));
        let text = std::str::from_utf8(text.unwrap_or_default()).unwrap_or_default();
        text.split_whitespace().eq(["0", "0", "4294967295"])
    })
}

//! Which program is the wrapper, whatever its name and build.
//!
//! The wrapper is called by the name of the runtime that it stands for, as a link or, in an image
//! that was made with `cp -L`, as a copy. One that takes another for the low-level runtime would
//! become it, and that one the first again, for ever. So each build carries these bytes.

use std::fs::{self, File, Metadata};
use std::hint::black_box;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::fs::bounded;

/// In the wrapper's program and in no other.
static MARKER: &[u8] = b"<oci-apparmor-runtime: a wrapper of low-level runtimes>";

/// The same from its end, so that programs that look for it do not carry it themselves.
static BACKWARDS: &[u8] = b">semitnur level-wol fo repparw a :emitnur-romrappa-ico<";

/// No program of ours is larger: a release has some 2 MiB, and a build with all that debuggers
/// need some 80.
const MAX: u64 = 256 << 20;

/// Keeps the marker in the program that calls this.
pub(super) fn carry() {
    black_box(MARKER);
}

/// Whether the file at `path` is a build of the wrapper.
#[must_use]
pub fn is_wrapper(path: &Path) -> bool {
    let bytes = File::open(path).and_then(|file| bounded::read(&file, MAX));
    let Ok(Some(bytes)) = bytes else {
        return false;
    };
    let needle: Vec<u8> = black_box(BACKWARDS).iter().rev().copied().collect();
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Whether a program that was found as a low-level runtime is one of ours: the one that runs, a
/// copy of it or another build. This is asked at each call, so what cannot be one is not read.
pub(super) fn is_ours(path: &Path) -> bool {
    let own = Path::new("/proc/self/exe");
    let (Ok(other), Ok(this)) = (fs::metadata(path), fs::metadata(own)) else {
        return false;
    };
    let same_bytes = || match (fs::read(path), fs::read(own)) {
        (Ok(other), Ok(this)) => other == this,
        _ => false,
    };
    (other.dev(), other.ino()) == (this.dev(), this.ino())
        || (other.len() == this.len() && same_bytes())
        || (may_be_a_build(path, &other, &this) && is_wrapper(path))
}

/// Builds are static programs of about one size; runc is several times as large, and crun, as
/// distributions have it, needs an interpreter (`PT_INTERP`, which stands behind the headers).
fn may_be_a_build(path: &Path, other: &Metadata, this: &Metadata) -> bool {
    let mut head = Vec::with_capacity(4096);
    let read = File::open(path).and_then(|file| file.take(4096).read_to_end(&mut head));
    let interpreter = b"/ld-";
    read.is_ok()
        && head.starts_with(b"\x7fELF")
        && other.len() <= this.len().saturating_mul(4)
        && !head.windows(interpreter.len()).any(|w| w == interpreter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_for_is_what_is_carried() {
        let needle: Vec<u8> = BACKWARDS.iter().rev().copied().collect();
        assert_eq!(MARKER, needle);
    }

    #[test]
    fn programs_that_are_none_of_ours() {
        for path in ["/proc/self/exe", "/bin/sh", "/dev/null", "/none", "/"] {
            assert!(!is_wrapper(Path::new(path)) || path == "/proc/self/exe");
        }
        assert!(is_ours(Path::new("/proc/self/exe")));
        assert!(!is_ours(Path::new("/bin/sh")));
    }
}

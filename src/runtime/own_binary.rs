//! Recognizes the wrapper's own program, whatever its name and build.
//!
//! The wrapper is installed under the name of a low-level runtime, as a link or as a copy (`cp -L` in
//! an image). If it took another copy or build for the low-level runtime, the two would execute each
//! other forever. So each build contains a marker.

use std::fs::{self, File, Metadata};
use std::hint::black_box;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::fs::bounded;

/// Contained in the wrapper's program and in no other.
static MARKER: &[u8] = b"<oci-apparmor-runtime: a wrapper of low-level runtimes>";

/// The marker reversed, so that programs that search for it do not contain it themselves.
static BACKWARDS: &[u8] = b">semitnur level-wol fo repparw a :emitnur-romrappa-ico<";

/// The largest file that is searched. A release build has about 2 MiB, a debug build about 80.
const MAX: u64 = 256 << 20;

/// Keeps the linker from dropping the marker.
pub(super) fn keep_marker() {
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

/// Whether a program that was found as a low-level runtime is this one, a copy of it, or another build
/// of it. This is called for every command, so files that cannot be a build are not read.
pub(super) fn is_own(path: &Path) -> bool {
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

/// Whether a file may be a build of the wrapper. All builds are static and of similar size. runc is
/// several times as large, and distributions link crun dynamically, so that it has an interpreter
/// (`PT_INTERP`, right after the headers).
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
    fn the_reversed_marker_is_the_marker() {
        let needle: Vec<u8> = BACKWARDS.iter().rev().copied().collect();
        assert_eq!(MARKER, needle);
    }

    #[test]
    fn other_programs_are_not_the_wrapper() {
        for path in ["/proc/self/exe", "/bin/sh", "/dev/null", "/none", "/"] {
            assert!(!is_wrapper(Path::new(path)) || path == "/proc/self/exe");
        }
        assert!(is_own(Path::new("/proc/self/exe")));
        assert!(!is_own(Path::new("/bin/sh")));
    }
}

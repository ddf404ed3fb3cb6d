//! Recognizes the wrapper's own program, whatever its name and build.
//!
//! The wrapper is installed under the name of a low-level runtime, as a link or as a copy (`cp -L` in
//! an image). If it took another copy or build for the low-level runtime, the two would execute each
//! other forever. So each build has a marker in its build id (`build.rs`), which the linker puts right
//! after the headers.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The note of the build id with the beginning that all builds of the wrapper have: the owner's name
/// (elf(5), `NT_GNU_BUILD_ID`), then the id.
const MARKER: &[u8] = b"GNU\0oci-apparmor-runtime";

/// How much of a program is read.
const HEAD: usize = 4096;

/// Whether the file at `path` is a build of the wrapper.
#[must_use]
pub fn is_wrapper(path: &Path) -> bool {
    let mut head = [0; HEAD];
    let read = File::open(path).and_then(|mut file| file.read(&mut head));
    let head = read.ok().and_then(|length| head.get(..length));
    head.is_some_and(|head| {
        // Notes are aligned to four bytes (elf(5)).
        let words = head.chunks_exact(4).enumerate();
        let mut owners = words.filter(|(_, word)| *word == b"GNU\0");
        head.starts_with(b"\x7fELF")
            && owners.any(|(n, _)| {
                let note = head.get(n.saturating_mul(4)..);
                note.is_some_and(|note| note.starts_with(MARKER))
            })
    })
}

/// Whether a program that was found as a low-level runtime is this one, a copy of it, or another build
/// of it. This is called for every command.
pub(super) fn is_own(path: &Path, other: &Metadata) -> bool {
    let own = Path::new("/proc/self/exe");
    let Ok(this) = fs::metadata(own) else {
        return is_wrapper(path);
    };
    // A linker may ignore the option for the build id. Copies are recognised all the same.
    let same_bytes = || match (fs::read(path), fs::read(own)) {
        (Ok(other), Ok(this)) => other == this,
        _ => false,
    };
    (other.dev(), other.ino()) == (this.dev(), this.ino())
        || (other.len() == this.len() && same_bytes())
        || is_wrapper(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_programs_are_not_the_wrapper() {
        for path in ["/proc/self/exe", "/bin/sh", "/dev/null", "/none", "/"] {
            assert!(!is_wrapper(Path::new(path)), "{path}");
        }
        let is_own = |path| is_own(Path::new(path), &fs::metadata(path).unwrap());
        assert!(is_own("/proc/self/exe"));
        assert!(!is_own("/bin/sh"));
    }
}

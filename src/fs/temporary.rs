//! Names of files that are being written, and which of them are left over.
//!
//! A process id stands for another process in another process namespace (an engine in a
//! container), which may share our directories. So a name has the namespace as well.

use std::fs::{self, Metadata};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// No file is written for that long.
const LONG: Duration = Duration::from_secs(3600);

/// What no other process puts at the end of such a name at this moment.
#[must_use]
pub fn mark() -> String {
    // Without /proc any number will do that is not likely to be taken.
    let namespace = namespace().unwrap_or_else(|| RandomState::new().build_hasher().finish());
    format!("{namespace}-{}", std::process::id())
}

/// The process namespace, as its inode; no other one on this machine has that at this moment.
fn namespace() -> Option<u64> {
    fs::metadata("/proc/self/ns/pid")
        .ok()
        .map(|meta| meta.ino())
}

/// Whether a file with this mark will never be finished: its process has ended; or, where that
/// cannot be told from here, it is old.
#[must_use]
pub fn is_left_over(mark: &str, meta: &Metadata) -> bool {
    let of = |text: &str| text.parse::<u32>().ok();
    let pid = match mark.split_once('-') {
        Some((namespace, pid)) => self::namespace()
            .filter(|ours| *namespace == ours.to_string())
            .and_then(|_| of(pid)),
        // Before there were namespaces in it.
        None => of(mark),
    };
    match pid {
        Some(pid) => !Path::new("/proc").join(pid.to_string()).exists(),
        None => meta.modified().is_ok_and(|written| {
            let age = SystemTime::now().duration_since(written);
            age.is_ok_and(|age| age > LONG)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_over_is_known_by_its_process_or_its_age() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = fs::File::create(&path).unwrap();
        let new = file.metadata().unwrap();
        file.set_modified(SystemTime::now() - LONG * 2).unwrap();
        let old = file.metadata().unwrap();
        let (namespace, own) = (namespace().unwrap(), std::process::id());
        assert_eq!(mark(), format!("{namespace}-{own}"));
        let ended = u32::MAX;
        for (mark, left) in [
            (mark(), [false, false]),
            (own.to_string(), [false, false]),
            (format!("{namespace}-{ended}"), [true, true]),
            (ended.to_string(), [true, true]),
            // Another namespace's, of which nothing can be told.
            (format!("1{namespace}-{own}"), [false, true]),
            (format!("1{namespace}-{ended}"), [false, true]),
            ("other".to_owned(), [false, true]),
            (String::new(), [false, true]),
        ] {
            assert_eq!([&new, &old].map(|m| is_left_over(&mark, m)), left, "{mark}");
        }
    }
}

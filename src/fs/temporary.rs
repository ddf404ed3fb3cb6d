//! Names of temporary files, and which of those files were left behind.
//!
//! Processes in another PID namespace (an engine in a container) may share our directories, and
//! the same process id is another process there. So a name contains the namespace as well.

use std::fs::{self, Metadata};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

/// Longer than any file takes to write.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// The end of a temporary file's name: `NAMESPACE-PID`, unique on this machine at this moment.
#[must_use]
pub fn mark() -> String {
    // Without /proc, a random number is unlikely to be taken.
    let namespace = namespace().unwrap_or_else(|| RandomState::new().build_hasher().finish());
    format!("{namespace}-{}", std::process::id())
}

/// The inode of our PID namespace, which identifies it on this machine. A process stays in it.
fn namespace() -> Option<u64> {
    static NAMESPACE: OnceLock<Option<u64>> = OnceLock::new();
    *NAMESPACE.get_or_init(|| {
        let namespace = fs::metadata("/proc/self/ns/pid").ok()?;
        Some(namespace.ino())
    })
}

/// Whether the process that wrote the file with this mark has ended. A process of another
/// namespace cannot be looked up; then the age of the file decides.
#[must_use]
pub fn is_left_over(mark: &str, meta: &Metadata) -> bool {
    let pid_in = |text: &str| text.parse::<u32>().ok();
    let pid = match mark.split_once('-') {
        Some((namespace, pid)) => self::namespace()
            .filter(|ours| *namespace == ours.to_string())
            .and_then(|_| pid_in(pid)),
        // Earlier versions wrote only the process id.
        None => pid_in(mark),
    };
    match pid {
        Some(pid) => {
            let process = Path::new("/proc").join(pid.to_string());
            matches!(process.try_exists(), Ok(false))
        }
        None => meta.modified().is_ok_and(|written| {
            let age = SystemTime::now().duration_since(written);
            age.is_ok_and(|age| age > MAX_AGE)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_over_files_are_recognised_by_their_process_or_their_age() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = fs::File::create(&path).unwrap();
        let new = file.metadata().unwrap();
        file.set_modified(SystemTime::now() - MAX_AGE * 2).unwrap();
        let old = file.metadata().unwrap();
        let (namespace, own) = (namespace().unwrap(), std::process::id());
        assert_eq!(mark(), format!("{namespace}-{own}"));
        let ended = u32::MAX;
        for (mark, left) in [
            (mark(), [false, false]),
            (own.to_string(), [false, false]),
            (format!("{namespace}-{ended}"), [true, true]),
            (ended.to_string(), [true, true]),
            // Processes of another namespace cannot be looked up.
            (format!("1{namespace}-{own}"), [false, true]),
            (format!("1{namespace}-{ended}"), [false, true]),
            ("other".to_owned(), [false, true]),
            (String::new(), [false, true]),
        ] {
            assert_eq!([&new, &old].map(|m| is_left_over(&mark, m)), left, "{mark}");
        }
    }
}

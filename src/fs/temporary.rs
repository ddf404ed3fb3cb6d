//! Names of temporary files, and which of those files were left behind.
//!
//! Processes in another PID namespace (an engine in a container) may share our directories, and
//! the same process id is another process there. So a name contains the time as well.

use std::fs::Metadata;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oci_apparmor_entry::process_id;

/// Longer than any file takes to write.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// Longer than a process takes to write and rename a file, unless it is stopped.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

/// The end of a temporary file's name: `TIME-PID`, unique on this machine.
#[must_use]
pub fn mark() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    let time = time.unwrap_or_default().as_nanos();
    format!("{time}-{}", process_id::own())
}

/// Whether the end of a file's name is a [`mark`].
#[must_use]
pub fn is_mark(text: &str) -> bool {
    let is_number = |part: &str| part.parse::<u64>().is_ok();
    text.split_once('-')
        .is_some_and(|(time, pid)| is_number(time) && is_number(pid))
}

/// Whether the process that wrote the file with this mark has ended. A process of another namespace
/// cannot be looked up, so a file is kept until it must have been written.
#[must_use]
pub fn is_left_over(mark: &str, meta: &Metadata) -> bool {
    let is_older_than = |limit| {
        let written = meta.modified().unwrap_or(UNIX_EPOCH);
        let age = SystemTime::now().duration_since(written);
        age.is_ok_and(|age| age > limit)
    };
    let pid = mark.rsplit_once('-').map_or(mark, |(_, pid)| pid);
    match pid.parse::<u32>() {
        Ok(pid) => {
            let process = Path::new("/proc").join(pid.to_string());
            is_older_than(WRITTEN_WITHIN) && matches!(process.try_exists(), Ok(false))
        }
        Err(_) => is_older_than(MAX_AGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn left_over_files_are_recognised_by_their_process_and_their_age() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("f")).unwrap();
        let written_before = |age| {
            file.set_modified(SystemTime::now() - age).unwrap();
            file.metadata().unwrap()
        };
        let ages = [Duration::ZERO, WRITTEN_WITHIN * 2, MAX_AGE * 2].map(written_before);
        let (own, ended) = (std::process::id(), u32::MAX);
        assert!(mark().ends_with(&format!("-{own}")));
        assert!(is_mark(&mark()) && is_mark("4026531836-212"));
        for other in ["", "1", "1-", "-1", "x-1", "1-x", "1-2-3"] {
            assert!(!is_mark(other), "{other}");
        }
        for (mark, left) in [
            (mark(), [false, false, false]),
            (own.to_string(), [false, false, false]),
            (format!("1-{ended}"), [false, true, true]),
            (ended.to_string(), [false, true, true]),
            ("other".to_owned(), [false, false, true]),
            (String::new(), [false, false, true]),
        ] {
            let found = ages.each_ref().map(|meta| is_left_over(&mark, meta));
            assert_eq!(found, left, "{mark}");
        }
    }
}

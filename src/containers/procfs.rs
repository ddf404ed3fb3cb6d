//! What `/proc` says about processes.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// `PF_FORKNOEXEC` (include/linux/sched.h): forked, and no execve(2) since. `ps -F` shows this bit, so
/// its number does not change.
const FORKED_ONLY: u32 = 0x40;

/// Its name in `/proc/PID`.
pub(crate) const STAT: &str = "stat";

/// More than any `/proc/PID/stat`, and than most labels.
const AT_ONCE: usize = 4096;

/// The fields of `/proc/PID/stat` that are needed here (proc(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    state: char,
    flags: u32,
    /// Processor time, in clock ticks.
    ticks: u64,
    threads: u64,
    started: u64,
}

impl Stat {
    /// Reads it for a process, given as `/proc/PID`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the process has ended.
    pub(crate) fn read(process: &Path) -> io::Result<Self> {
        Self::of(&read(&process.join(STAT))?)
    }

    /// As [`Self::read`], of the file [`STAT`].
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub(crate) fn read_again(file: &mut ProcFile) -> io::Result<Self> {
        Self::of(&file.read()?)
    }

    fn of(text: &str) -> io::Result<Self> {
        Self::parse(text).ok_or_else(|| io::Error::other("it is not in the format of proc(5)"))
    }

    fn parse(text: &str) -> Option<Self> {
        // The process name may contain anything, brackets and spaces included.
        let (_, rest) = text.rsplit_once(") ")?;
        let mut fields = rest.split_ascii_whitespace();
        // proc(5) counts from 1; the state is field 3.
        let state = fields.next()?.chars().next()?;
        let flags = fields.nth(5)?.parse().ok()?;
        let user: u64 = fields.nth(4)?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        let threads = fields.nth(4)?.parse().ok()?;
        let started = fields.nth(1)?.parse().ok()?;
        Some(Self {
            state,
            flags,
            ticks: user.saturating_add(system),
            threads,
            started,
        })
    }

    /// Start time, in clock ticks since boot.
    pub(crate) fn started(self) -> u64 {
        self.started
    }

    /// Whether it has not called execve(2) since its parent forked it.
    pub(crate) fn has_executed_nothing(self) -> bool {
        self.flags & FORKED_ONLY != 0
    }

    /// Whether all of its threads have ended. A process whose first thread alone has ended is also
    /// shown as a zombie.
    pub(crate) fn has_ended(self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x') && self.threads <= 1
    }

    /// Whether it runs, is runnable, or is in an uninterruptible system call.
    pub(crate) fn is_at_work(self) -> bool {
        matches!(self.state, 'R' | 'D')
    }

    /// Processor time, in nanoseconds. Without CONFIG_SCHED_INFO in the kernel it is in whole ticks.
    pub(crate) fn processor_time(self, process: &Path) -> u64 {
        let text = read(&process.join("schedstat")).unwrap_or_default();
        let exact = text.split_ascii_whitespace().next();
        exact.and_then(|n| n.parse().ok()).unwrap_or_else(|| {
            // USER_HZ is 100 on every architecture but alpha and ia64.
            self.ticks.saturating_mul(10_000_000)
        })
    }
}

/// Reads a file of a process in `/proc`.
///
/// # Errors
/// [`ErrorKind::NotFound`] if the process has ended.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(not_found_if_ended)
}

/// A file of one process in `/proc` that is read again and again. It is opened once, and each read
/// gives its contents of that moment: of that process, even if its id is reused.
#[derive(Debug)]
pub(crate) struct ProcFile {
    path: PathBuf,
    open: Option<File>,
}

impl ProcFile {
    /// The file `name` in `/proc/PID`. It is opened when it is read.
    pub(crate) fn of(process: &Path, name: &str) -> Self {
        Self {
            path: process.join(name),
            open: None,
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// As for [`read`].
    pub(crate) fn read(&mut self) -> io::Result<String> {
        let file = match self.open.take() {
            Some(file) => file,
            None => File::open(&self.path)?,
        };
        let mut bytes = vec![0; AT_ONCE];
        let mut length = 0;
        // What does not fit into one read may change in between, as with every file in `/proc`.
        loop {
            let rest = bytes.get_mut(length..).unwrap_or_default();
            let read = match file.read_at(rest, length as u64) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                read => read.map_err(not_found_if_ended)?,
            };
            let is_full = read == rest.len();
            length = length.saturating_add(read);
            if read == 0 || !is_full {
                break;
            }
            bytes.resize(length.saturating_add(AT_ONCE), 0);
        }
        bytes.truncate(length);
        self.open = Some(file);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Turns ESRCH, from a file whose process has ended since it was opened, into
/// [`ErrorKind::NotFound`].
pub(crate) fn not_found_if_ended(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ESRCH) => ErrorKind::NotFound.into(),
        _ => error,
    }
}

/// The directories of all processes in `/proc`.
///
/// # Errors
/// If `/proc` cannot be listed completely.
pub(crate) fn processes() -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        if id(&path).is_some() {
            found.push(path);
        }
    }
    Ok(found)
}

/// The process id in the path of a directory in `/proc`.
pub(crate) fn id(process: &Path) -> Option<u32> {
    process.file_name()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_after_any_process_name() {
        let line = "212 (a) R 9 (b) S 1 212 212 0 -1 4194624 41 0 0 0 3 4 0 0 20 0 2 0 833 6717440";
        let stat = Stat::parse(line).unwrap();
        let expected = Stat {
            state: 'S',
            flags: 4_194_624,
            ticks: 7,
            threads: 2,
            started: 833,
        };
        assert_eq!(stat, expected);
        assert!(stat.has_executed_nothing() && !stat.is_at_work() && !stat.has_ended());
        for text in [
            "",
            "1 (a) S",
            "1 a S 1 2 3",
            "1 (a) S 1 2 3 4 5 x 1 1 1 1 1 1",
        ] {
            assert_eq!(Stat::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_zombie_has_ended_unless_it_has_other_threads() {
        let of = |state, threads| Stat {
            state,
            flags: 0,
            ticks: 0,
            threads,
            started: 0,
        };
        assert!(of('Z', 1).has_ended() && of('X', 0).has_ended());
        assert!(!of('Z', 2).has_ended() && !of('S', 1).has_ended());
    }

    #[test]
    fn a_file_is_read_again_whatever_its_length() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut file = ProcFile::of(directory.path(), "file");
        assert_eq!(file.read().unwrap_err().kind(), ErrorKind::NotFound);
        for length in [0, 5, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE, 1] {
            let text = "x".repeat(length);
            fs::write(&path, &text).unwrap();
            assert_eq!(file.read().unwrap(), text, "{length}");
        }
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let process = Path::new("/proc").join(child.id().to_string());
        let mut stat = ProcFile::of(&process, STAT);
        let first = Stat::read_again(&mut stat).unwrap();
        assert!(!first.has_ended());
        child.kill().unwrap();
        child.wait().unwrap();
        let ended = Stat::read_again(&mut stat).unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn this_process_exists_and_has_called_execve() {
        let own = Path::new("/proc").join(std::process::id().to_string());
        let stat = Stat::read(&own).unwrap();
        assert!(!stat.has_executed_nothing() && !stat.has_ended());
        assert!(stat.processor_time(&own) > 0);
        assert!(processes().unwrap().contains(&own));
        let none = Stat::read(Path::new("/proc/0")).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::NotFound);
    }
}

//! Logs in files, and standard input.

use std::collections::VecDeque;
use std::fs::{self, File, Metadata};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci_apparmor::error::{Error, Result};
use oci_apparmor_audit::event::Event;

use super::gaps::Gaps;
use super::lines::{LineRead, LineReader, MAX_LINE, Polled};
use super::reading::{self, LogReader, Reading};

/// Reads a log in a file. While it follows, it goes on with the files that take the place of a rotated
/// one.
#[derive(Debug)]
pub(super) struct FileReader {
    path: PathBuf,
    lines: LineReader<Polled<File>>,
    /// Files that come after the one that is read.
    next: VecDeque<File>,
    /// Whether the file was seen to be renamed. Its writer may still write the last lines.
    rotated: bool,
    follow: bool,
}

impl FileReader {
    pub(super) fn open(path: &Path, follow: bool) -> Result<Self> {
        Ok(Self::of(path, open(path)?, VecDeque::new(), follow))
    }

    pub(super) fn stdin() -> Result<Self> {
        let path = Path::new("standard input");
        let input = io::stdin().as_fd().try_clone_to_owned();
        let input = input.map_err(|e| Error::io("read", path, &e))?;
        Ok(Self::of(path, input.into(), VecDeque::new(), false))
    }

    /// Reads files one after the other, of which the last one has this path.
    pub(super) fn of(path: &Path, first: File, next: VecDeque<File>, follow: bool) -> Self {
        Self {
            path: path.to_owned(),
            lines: LineReader::new(Polled(first), MAX_LINE),
            next,
            rotated: false,
            follow,
        }
    }

    /// Leaves out what the file has now.
    pub(super) fn skip(&mut self) -> Result<()> {
        let mut file = &self.lines.get_ref().0;
        let at_end = match file.metadata() {
            Ok(meta) if !meta.is_file() => Ok(0),
            _ => file.seek(SeekFrom::End(0)),
        };
        at_end
            .map(drop)
            .map_err(|e| Error::io("read", &self.path, &e))
    }

    /// Reads a line: [`FileReader::line`].
    pub(super) fn next_line(&mut self) -> Result<LineRead> {
        loop {
            let partial = !self.follow || self.rotated || !self.next.is_empty();
            let read = self.lines.read(partial);
            match read.map_err(|e| Error::io("read", &self.path, &e))? {
                LineRead::End => match self.go_on() {
                    true => {}
                    false if self.follow => return Ok(LineRead::Nothing),
                    false => return Ok(LineRead::End),
                },
                other => return Ok(other),
            }
        }
    }

    pub(super) fn line(&self) -> &[u8] {
        self.lines.line()
    }

    /// At the end of a file: whether there is more to read.
    fn go_on(&mut self) -> bool {
        if let Some(file) = self.next.pop_front() {
            self.lines = LineReader::new(Polled(file), MAX_LINE);
            self.rotated = false;
            return true;
        }
        if !self.follow {
            return false;
        }
        let mut open = &self.lines.get_ref().0;
        let (Ok(read), Ok(there)) = (open.metadata(), fs::metadata(&self.path)) else {
            return false;
        };
        if is_same(&read, &there) {
            // Rotated by copying and emptying it.
            return open.stream_position().is_ok_and(|at| at > read.len()) && open.rewind().is_ok();
        }
        // Read to its end once more: it is not written any longer.
        if !std::mem::replace(&mut self.rotated, true) {
            return true;
        }
        self.next = newer_than(&self.path, &read);
        !self.next.is_empty()
    }
}

impl LogReader for FileReader {
    fn read(&mut self, gaps: &mut Gaps) -> Result<Reading> {
        loop {
            match self.next_line()? {
                LineRead::Line => {
                    if let Some(entry) = reading::entry(Event::parse(self.line()), gaps) {
                        return Ok(Reading::Entry(entry));
                    }
                }
                LineRead::Nothing => return Ok(Reading::Nothing),
                LineRead::End => return Ok(Reading::End),
            }
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        // poll(2) says of a regular file that it is always readable.
        let file = &self.lines.get_ref().0;
        let is_regular = file.metadata().is_ok_and(|meta| meta.is_file());
        (!is_regular).then(|| file.as_fd())
    }

    fn complete_since(&self) -> Option<SystemTime> {
        None
    }
}

/// Opens a file; a FIFO without a writer does not block.
pub(super) fn open(path: &Path) -> Result<File> {
    let failed = |e: &io::Error| Error::io("read", path, e);
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(|e| failed(&e))?;
    match file.metadata().is_ok_and(|meta| meta.is_dir()) {
        true => Err(failed(&io::ErrorKind::IsADirectory.into())),
        false => Ok(file),
    }
}

/// The path of the rotated file `number`; 0 is the one that is written.
pub(super) fn rotated(path: &Path, number: usize) -> PathBuf {
    match number {
        0 => path.to_owned(),
        number => {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{number}"));
            name.into()
        }
    }
}

/// The files that were begun after this one was renamed, the oldest first.
fn newer_than(path: &Path, read: &Metadata) -> VecDeque<File> {
    let mut newer = VecDeque::new();
    for number in 0..100 {
        let Ok(file) = open(&rotated(path, number)) else {
            break;
        };
        if file.metadata().is_ok_and(|meta| is_same(&meta, read)) {
            return newer;
        }
        newer.push_front(file);
    }
    // The file that was read is gone, or has another name.
    newer.split_off(newer.len().saturating_sub(1))
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(reader: &mut FileReader) -> Vec<String> {
        let mut lines = Vec::new();
        while reader.next_line().unwrap() == LineRead::Line {
            lines.push(String::from_utf8_lossy(reader.line()).trim_end().to_owned());
        }
        lines
    }

    #[test]
    fn a_rotated_log_is_read_to_its_end_and_the_next_ones_from_their_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let rotate = || {
            for number in (0..5).rev() {
                let _ = fs::rename(rotated(&path, number), rotated(&path, number + 1));
            }
        };
        fs::write(&path, "1\n2").unwrap();
        let mut reader = FileReader::open(&path, true).unwrap();
        assert_eq!(lines(&mut reader), ["1"]);
        let mut old = File::options().append(true).open(&path).unwrap();
        old.write_all(b"2\n").unwrap();
        rotate();
        fs::write(&path, "3\n").unwrap();
        rotate();
        fs::write(&path, "4\n").unwrap();
        assert_eq!(lines(&mut reader), ["22", "3", "4"]);
        fs::write(&path, "").unwrap();
        assert_eq!(lines(&mut reader), Vec::<String>::new());
        fs::write(&path, "5\n").unwrap();
        assert_eq!(lines(&mut reader), ["5"]);
        fs::remove_file(&path).unwrap();
        assert_eq!(lines(&mut reader), Vec::<String>::new());
        fs::write(&path, "6\n").unwrap();
        assert_eq!(lines(&mut reader), ["6"]);
    }

    #[test]
    fn without_following_a_file_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert!(FileReader::open(&path, false).is_err());
        fs::write(&path, "1\n2").unwrap();
        let mut reader = FileReader::open(&path, false).unwrap();
        assert_eq!(lines(&mut reader), ["1", "2"]);
        assert_eq!(reader.next_line().unwrap(), LineRead::End);
    }
}

//! Lines of a log, bounded.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use oci_apparmor_audit::event::LONGEST_LINE;

/// More than a line that is read, and than a record of the kernel's log (`PRINTKRB_RECORD_MAX`,
/// kernel/printk/internal.h).
pub(super) const MAX_LINE: usize = 2 * LONGEST_LINE;

/// Reads without waiting: if there is nothing, the error is [`ErrorKind::WouldBlock`]. The mode of the
/// file stays as it is; it may be shared with other processes.
#[derive(Debug)]
pub(super) struct Polled<R>(pub(super) R);

impl<R: Read + AsFd> Read for Polled<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&at_once))? {
            0 => Err(ErrorKind::WouldBlock.into()),
            _ => self.0.read(bytes),
        }
    }
}

impl<R: AsFd> AsFd for Polled<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What there is to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineRead {
    /// A line: [`LineReader::line`].
    Line,
    /// There is nothing now; a later read may have more.
    Nothing,
    /// The end of the file; while it is written, a later read may have more.
    End,
}

/// Reads lines. The rest of a line that is too long is skipped, so that it is never read as a line of
/// its own.
#[derive(Debug)]
pub(super) struct LineReader<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    max: usize,
    /// Whether the line is complete, and the next read begins a new one.
    complete: bool,
    /// Whether the rest of a line is to be skipped.
    skipping: bool,
}

impl<R: Read> LineReader<R> {
    /// Lines of at most `max` bytes.
    pub(super) fn new(reader: R, max: usize) -> Self {
        Self {
            reader: BufReader::with_capacity(64 << 10, reader),
            line: Vec::new(),
            max,
            complete: false,
            skipping: false,
        }
    }

    /// What is read from. At the end of the file, nothing of it is buffered.
    pub(super) fn get_ref(&self) -> &R {
        self.reader.get_ref()
    }

    /// The line that was read, with its line end unless it is the last one, or was cut.
    pub(super) fn line(&self) -> &[u8] {
        &self.line
    }

    /// Reads the next line. `partial`: whether a line without an end counts as one at the end of the
    /// file, because no more is written to it.
    pub(super) fn read(&mut self, partial: bool) -> io::Result<LineRead> {
        if std::mem::take(&mut self.complete) {
            self.line.clear();
        }
        loop {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(LineRead::Nothing),
                Err(e) => return Err(e),
            };
            if available.is_empty() {
                self.complete = partial && !self.line.is_empty();
                return Ok(match self.complete {
                    true => LineRead::Line,
                    false => LineRead::End,
                });
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(available.len(), |end| end.saturating_add(1));
            if std::mem::take(&mut self.skipping) {
                self.skipping = end.is_none();
                self.reader.consume(length);
                continue;
            }
            let part = available.get(..length).unwrap_or_default();
            let room = self.max.saturating_sub(self.line.len());
            let kept = part.get(..room).unwrap_or(part);
            let is_cut = kept.len() < part.len();
            self.line.extend_from_slice(kept);
            self.reader.consume(length);
            if is_cut || end.is_some() {
                self.skipping = end.is_none();
                self.complete = true;
                return Ok(LineRead::Line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn all(text: &[u8], max: usize) -> Vec<String> {
        let mut reader = LineReader::new(text, max);
        let mut lines = Vec::new();
        while reader.read(true).unwrap() == LineRead::Line {
            lines.push(String::from_utf8(reader.line().to_owned()).unwrap());
        }
        lines
    }

    #[test]
    fn lines_that_are_too_long_are_cut_and_the_next_one_is_whole() {
        assert_eq!(all(b"a\nb\n\nc", 9), ["a\n", "b\n", "\n", "c"]);
        assert_eq!(all(b"", 9), Vec::<String>::new());
        for long in [10, 100, 200_000] {
            let text = format!("{}\nshort\n", "x".repeat(long));
            assert_eq!(all(text.as_bytes(), 9), ["xxxxxxxxx", "short\n"], "{long}");
        }
        assert_eq!(all(b"12345678\nx", 9), ["12345678\n", "x"]);
        assert_eq!(all(b"123456789\nx", 9), ["123456789", "x"]);
    }

    #[test]
    fn a_line_that_is_still_written_is_waited_for() {
        let (read, write) = std::io::pipe().unwrap();
        let mut reader = LineReader::new(Polled(read), 99);
        assert_eq!(reader.read(false).unwrap(), LineRead::Nothing);
        (&write).write_all(b"one\ntw").unwrap();
        assert_eq!(reader.read(false).unwrap(), LineRead::Line);
        assert_eq!(reader.line(), b"one\n");
        assert_eq!(reader.read(true).unwrap(), LineRead::Nothing);
        (&write).write_all(b"o\nlast").unwrap();
        assert_eq!(reader.read(false).unwrap(), LineRead::Line);
        assert_eq!(reader.line(), b"two\n");
        drop(write);
        assert_eq!(reader.read(false).unwrap(), LineRead::End);
        assert_eq!(reader.read(true).unwrap(), LineRead::Line);
        assert_eq!(reader.line(), b"last");
        assert_eq!(reader.read(true).unwrap(), LineRead::End);
    }
}

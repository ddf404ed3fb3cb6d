//! The log of auditd, with its rotated files.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci_apparmor::error::{Error, Kind, Result};
use oci_apparmor::fs::trusted;
use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::header::Stamp;

use super::files::{self, FileReader};
use super::gaps::Gaps;
use super::lines::LineRead;
use super::reading::{self, LogReader, Reading, time_of};

/// auditd.conf(5), and what `log_file` is without it.
const CONFIGURATION: &str = "/etc/audit/auditd.conf";
const LOG: &str = "/var/log/audit/audit.log";

/// How many rotated files there can be (`num_logs`, auditd.conf(5)).
const MOST_FILES: usize = 1000;

/// Where auditd writes its log.
pub(super) fn path() -> PathBuf {
    let text = trusted::read(Path::new(CONFIGURATION), 1 << 20).unwrap_or_default();
    configured(&String::from_utf8_lossy(&text)).unwrap_or_else(|| LOG.into())
}

/// The value of `log_file`.
fn configured(text: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        let is_it = key.trim().eq_ignore_ascii_case("log_file");
        is_it.then(|| PathBuf::from(value.trim()))
    })
}

/// Reads the log of auditd.
#[derive(Debug)]
pub(super) struct AuditLogReader {
    files: FileReader,
    /// Whether no line was read yet.
    first: bool,
    /// Whether older files were left out, because they end before this.
    left_out: Option<SystemTime>,
    complete_since: Option<SystemTime>,
}

impl AuditLogReader {
    /// Opens all files that may have events since some time; only what is written from now on if
    /// `follow` is set and there is no time.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub(super) fn open(path: &Path, since: Option<SystemTime>, follow: bool) -> Result<Self> {
        let newest = files::open(path).map_err(|e| {
            e.of(Kind::NotFound)
                .with_remedy("run it as root, or name a log: oci-apparmor denials FILE")
        })?;
        if follow && since.is_none() {
            let mut reader = FileReader::of(path, newest, VecDeque::new(), true);
            reader.skip()?;
            return Ok(Self::of(reader, Some(SystemTime::now())));
        }
        let (mut all, mut left_out) = (VecDeque::from([newest]), None);
        for number in 1..MOST_FILES {
            let path = files::rotated(path, number);
            let Ok(meta) = fs::metadata(&path) else {
                break;
            };
            if let (Some(since), Ok(changed)) = (since, meta.modified())
                && changed < since
            {
                left_out = Some(since);
                break;
            }
            all.push_front(files::open(&path)?);
        }
        let oldest = all.pop_front();
        let oldest: File = oldest.ok_or_else(|| Error::new(Kind::Internal, "auditd has no log"))?;
        Ok(Self::of(
            FileReader::of(path, oldest, all, follow),
            left_out,
        ))
    }

    fn of(files: FileReader, left_out: Option<SystemTime>) -> Self {
        Self {
            files,
            first: true,
            left_out,
            complete_since: left_out,
        }
    }

    /// Notes since when the log is complete: since its first line, and since the last start of auditd.
    fn note(&mut self) {
        let line = self.files.line();
        let starts = line.starts_with(b"type=DAEMON_START ");
        if !std::mem::take(&mut self.first) && !starts {
            return;
        }
        let time = stamp(line).and_then(|stamp| time_of(&stamp));
        if starts || self.left_out.is_none() {
            self.complete_since = time.or(self.complete_since);
        }
    }
}

impl LogReader for AuditLogReader {
    fn read(&mut self, gaps: &mut Gaps) -> Result<Reading> {
        loop {
            match self.files.next_line()? {
                LineRead::Line => {
                    self.note();
                    if let Some(entry) = reading::entry(Event::parse(self.files.line()), gaps) {
                        return Ok(Reading::Entry(entry));
                    }
                }
                LineRead::Nothing => return Ok(Reading::Nothing),
                LineRead::End => return Ok(Reading::End),
            }
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn complete_since(&self) -> Option<SystemTime> {
        self.complete_since
    }
}

/// The stamp in `type=… msg=audit(1795342738.894:7): …`.
fn stamp(line: &[u8]) -> Option<Stamp> {
    let line = std::str::from_utf8(line.get(..256).unwrap_or(line)).ok()?;
    let (_, rest) = line.split_once("msg=audit(")?;
    let (stamp, _) = rest.split_once(')')?;
    let (time, serial) = stamp.split_once(':')?;
    let (seconds, milliseconds) = time.split_once('.')?;
    Some(Stamp {
        seconds: seconds.parse().ok()?,
        milliseconds: milliseconds.parse().ok()?,
        serial: serial.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_log_of_the_configuration() {
        let text = "local_events = yes\n#log_file = /x\nlog_file = /srv/audit/a.log \nlog_format = ENRICHED\n";
        assert_eq!(configured(text), Some("/srv/audit/a.log".into()));
        assert_eq!(configured(""), None);
    }

    #[test]
    fn rotated_files_are_read_first_and_a_start_of_auditd_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let event = |second: u32| {
            format!(
                "type=AVC msg=audit({second}.000:{second}): apparmor=\"DENIED\" operation=\"open\" \
                 profile=\"p\" name=\"/{second}\" pid=1 comm=\"c\" requested_mask=\"r\" denied_mask=\"r\"\n"
            )
        };
        let at = |second| Some(UNIX_EPOCH + Duration::from_secs(second));
        let read = |since: Option<SystemTime>| {
            let mut reader = AuditLogReader::open(&path, since, false).unwrap();
            let mut gaps = Gaps::default();
            let mut names = Vec::new();
            while let Reading::Entry(reading::Entry::Event(event)) = reader.read(&mut gaps).unwrap()
            {
                names.push(event.object());
            }
            assert!(gaps.is_none());
            (names.join(" "), reader.complete_since())
        };
        assert!(AuditLogReader::open(&path, None, false).is_err());
        fs::write(files::rotated(&path, 2), event(1)).unwrap();
        fs::write(files::rotated(&path, 1), event(2) + &event(3)).unwrap();
        fs::write(&path, event(4)).unwrap();
        assert_eq!(read(None), ("/1 /2 /3 /4".to_owned(), at(1)));
        let old = File::options()
            .append(true)
            .open(files::rotated(&path, 2))
            .unwrap();
        old.set_modified(at(1).unwrap()).unwrap();
        assert_eq!(read(at(2)), ("/2 /3 /4".to_owned(), at(2)));
        let start = "type=DAEMON_START msg=audit(5.000:9): op=start\n";
        fs::write(&path, event(4) + start + &event(6)).unwrap();
        assert_eq!(read(None).1, at(5));
    }
}

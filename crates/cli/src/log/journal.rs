//! The journal of systemd, by journalctl(1).

use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use oci_apparmor::child;
use oci_apparmor::error::{Error, Kind, Result, foreign, reason};
use oci_apparmor::fs::trusted;

use super::duplicates::Transports;
use super::gaps::Gaps;
use super::journal_record::JournalRecord;
use super::lines::{LineRead, LineReader, MAX_LINE, Polled};
use super::reading::{self, LogReader, Reading};

/// Where journalctl is.
const PROGRAMS: [&str; 2] = ["/usr/bin/journalctl", "/bin/journalctl"];

/// How long it may be silent while it does not follow: it reads gigabytes without finding anything.
const SILENCE: Duration = Duration::from_secs(300);

/// How long it may search for the oldest record.
const FIRST: Duration = Duration::from_secs(10);

/// A record in JSON may take four bytes for each byte of its message: `255,`.
const MAX_RECORD: usize = 8 * MAX_LINE;

/// Reads the journal's records of the kernel and of the audit socket.
#[derive(Debug)]
pub(super) struct JournalReader {
    child: Child,
    messages: PipeReader,
    lines: LineReader<Polled<PipeReader>>,
    heard: Instant,
    follow: bool,
    twice: Transports,
    /// Since when there are records, or since when they are read.
    complete_since: Option<SystemTime>,
}

impl JournalReader {
    /// # Errors
    /// If there is no trusted journalctl, or it cannot be started.
    pub(super) fn open(since: Option<SystemTime>, follow: bool) -> Result<Self> {
        let program = program()?;
        let begin = begin(&program);
        let mut arguments = vec![
            "--output=json".to_owned(),
            "--all".to_owned(),
            "--output-fields=MESSAGE,_TRANSPORT,_AUDIT_ID,_SOURCE_REALTIME_TIMESTAMP".to_owned(),
        ];
        match since {
            Some(since) => {
                let since = since
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default()
                    .as_secs();
                arguments.push(format!("--since=@{since}"));
            }
            None if follow => arguments.push("--lines=0".to_owned()),
            None => {}
        }
        if follow {
            arguments.push("--follow".to_owned());
            arguments.extend(since.map(|_| "--no-tail".to_owned()));
        }
        // What journald itself says: how much it missed.
        let matches = ["_TRANSPORT=kernel", "_TRANSPORT=audit", "_TRANSPORT=driver"];
        arguments.extend(matches.map(str::to_owned));
        let complete_since = match follow && since.is_none() {
            true => Some(SystemTime::now()),
            false => begin,
        };
        let started = start(&program, &arguments)?;
        Ok(Self::of(started, follow, complete_since))
    }

    fn of(
        (child, output, messages): Started,
        follow: bool,
        complete_since: Option<SystemTime>,
    ) -> Self {
        Self {
            child,
            messages,
            lines: LineReader::new(Polled(output), MAX_RECORD),
            heard: Instant::now(),
            follow,
            twice: Transports::default(),
            complete_since,
        }
    }

    /// What to do with one record.
    fn record(&mut self, gaps: &mut Gaps) -> Option<reading::Entry> {
        let record = JournalRecord::parse(self.lines.line())?;
        gaps.suppressed = gaps.suppressed.saturating_add(record.suppressed());
        gaps.missed_by_journal = gaps.missed_by_journal.saturating_add(record.missed());
        let event = record.event();
        if let Ok(event) = &event
            && !self.twice.is_new(event, record.is_of_audit())
        {
            return None;
        }
        reading::entry(event, gaps)
    }

    /// What a journalctl that has ended says.
    fn ended(&mut self) -> Result<Reading> {
        let status = self.child.wait();
        let mut said = String::new();
        let _ = (&self.messages).take(4096).read_to_string(&mut said);
        match status {
            // One that follows does not end by itself.
            Ok(status) if status.success() && !self.follow => Ok(Reading::End),
            Ok(status) if said.trim().is_empty() => Err(failed(&format!("it ended with {status}"))),
            Ok(status) => Err(failed(&format!(
                "it ended with {status}: {}",
                foreign(&said)
            ))),
            Err(e) => Err(failed(&reason(&e))),
        }
    }
}

impl LogReader for JournalReader {
    fn read(&mut self, gaps: &mut Gaps) -> Result<Reading> {
        loop {
            match self.lines.read(true).map_err(|e| failed(&reason(&e)))? {
                LineRead::Line => {
                    self.heard = Instant::now();
                    if let Some(entry) = self.record(gaps) {
                        return Ok(Reading::Entry(entry));
                    }
                }
                LineRead::Nothing if !self.follow && self.heard.elapsed() > SILENCE => {
                    return Err(failed(&format!(
                        "it wrote nothing for {} s",
                        SILENCE.as_secs()
                    )));
                }
                LineRead::Nothing => return Ok(Reading::Nothing),
                LineRead::End => return self.ended(),
            }
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.lines.get_ref().as_fd())
    }

    fn complete_since(&self) -> Option<SystemTime> {
        self.complete_since
    }
}

impl Drop for JournalReader {
    fn drop(&mut self) {
        // It has ended, or is not needed any longer.
        if self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}

fn failed(why: &str) -> Error {
    Error::new(
        Kind::Internal,
        format!("cannot read the journal with journalctl: {why}"),
    )
    .with_remedy("run: journalctl -k | oci-apparmor denials -")
}

fn program() -> Result<PathBuf> {
    let mut why = "it is not installed".to_owned();
    for path in PROGRAMS.map(Path::new) {
        match trusted::program(path) {
            Ok(program) => return Ok(program),
            Err(trusted::TrustError::Missing) => {}
            Err(e) => why = e.about(path, Kind::Internal).without_remedy(),
        }
    }
    Err(failed(&why)
        .of(Kind::NotFound)
        .with_remedy("name a log: oci-apparmor denials FILE"))
}

/// A running journalctl, its output, and what it says on standard error.
type Started = (Child, PipeReader, PipeReader);

fn start(program: &Path, arguments: &[String]) -> Result<Started> {
    let io = |e: io::Error| failed(&reason(&e));
    let (output, stdout) = io::pipe().map_err(io)?;
    let (messages, stderr) = io::pipe().map_err(io)?;
    let mut command = Command::new(program);
    command
        .args(["--quiet", "--no-pager"])
        .args(arguments)
        // A signal from the terminal ends this program, which then reads what is left.
        .process_group(0)
        .env_clear()
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr);
    let child = child::spawn(&mut command).map_err(io)?;
    Ok((child, output, messages))
}

/// Whether the journal has records that the kernel wrote since boot. Without journald, it may still
/// have those of an earlier boot: files of an image, or of a system that uses another logger now.
pub(super) fn is_in_use() -> bool {
    oldest_of_this_boot(&["_TRANSPORT=kernel", "_TRANSPORT=audit"]).is_some()
}

/// The first audit record since boot that journald got from the kernel itself, as auditd does. If
/// there is none, the journal has nothing of the time in which auditd runs. systemd enables it by
/// systemd-journald-audit.socket.
pub(super) fn hears_audit_since() -> Option<SystemTime> {
    oldest_of_this_boot(&["_TRANSPORT=audit"])
        .as_ref()
        .and_then(JournalRecord::time)
}

fn oldest_of_this_boot(transports: &[&str]) -> Option<JournalRecord> {
    let directories = ["/var/log/journal", "/run/log/journal"].map(Path::new);
    if !directories.iter().any(|directory| directory.is_dir()) {
        return None;
    }
    let boot = format!("_BOOT_ID={}", boot_id());
    oldest(&program().ok()?, &[transports, &[&boot]].concat())
}

/// As the journal writes it, without the dashes of the kernel's form (systemd.journal-fields(7)).
fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().replace('-', "")
}

/// Since when the journal has what the kernel logs.
fn begin(program: &Path) -> Option<SystemTime> {
    let first = oldest(program, &["_TRANSPORT=kernel", "_TRANSPORT=audit"])?;
    match first.begins(&boot_id()) {
        // journald starts later, and reads what was logged until then.
        true => super::since::boot(),
        false => first.time(),
    }
}

/// The oldest record that matches.
fn oldest(program: &Path, matches: &[&str]) -> Option<JournalRecord> {
    let fields = "--output-fields=_TRANSPORT,_SOURCE_MONOTONIC_TIMESTAMP";
    let arguments: Vec<String> = ["--output=json", fields]
        .iter()
        .chain(matches)
        .map(ToString::to_string)
        .collect();
    let (mut child, output, _messages) = start(program, &arguments).ok()?;
    let mut lines = LineReader::new(Polled(output), MAX_RECORD);
    let begun = Instant::now();
    let mut first = lines.read(true);
    while matches!(first, Ok(LineRead::Nothing)) && begun.elapsed() < FIRST {
        thread::sleep(Duration::from_millis(5));
        first = lines.read(true);
    }
    let is_line = matches!(first, Ok(LineRead::Line));
    let record = is_line.then(|| JournalRecord::parse(lines.line()));
    let _ = child.kill();
    let _ = child.wait();
    record?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_journalctl_that_does_not_follow_may_end() {
        let end = |program: &str, follow: bool| {
            let started = start(Path::new(program), &[]).unwrap();
            let mut reader = JournalReader::of(started, follow, None);
            loop {
                match reader.read(&mut Gaps::default()) {
                    Ok(Reading::End) => return String::new(),
                    Ok(_) => thread::sleep(Duration::from_millis(5)),
                    Err(e) => return e.without_remedy(),
                }
            }
        };
        assert_eq!(end("/bin/true", false), "");
        for (program, follow, status) in [
            ("/bin/true", true, 0),
            ("/bin/false", true, 1),
            ("/bin/false", false, 1),
        ] {
            assert_eq!(
                end(program, follow),
                format!(
                    "cannot read the journal with journalctl: it ended with exit status: {status}"
                )
            );
        }
    }
}

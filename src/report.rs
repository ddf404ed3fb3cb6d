//! Reports refusals, on every channel that an engine may show.
//!
//! containerd and docker read the last `error` entry of the runtime's `--log`; podman reads the log
//! only if it is a single JSON object; CRI-O shows standard error; crun and podman discard what hooks
//! print, so everything also goes to syslog. Failures to report are ignored. Without a refusal nothing
//! is written: a runtime's standard error is its container's.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::SystemTime;

use crate::counters::{self, Counter};
use crate::error::Error;

/// The socket of syslog and journald.
const SYSLOG: &str = "/dev/log";

/// Facility `daemon` (3) with the severities `err` (3) and `warning` (4), RFC 5424 6.2.1.
const DAEMON_ERR: u8 = 3 << 3 | 3;
const DAEMON_WARNING: u8 = 3 << 3 | 4;

/// The engine's log.
#[derive(Debug, Clone, Default)]
pub struct EngineLog {
    /// The value of `--log`.
    pub log: Option<OsString>,
    /// The value of `--log-format`.
    pub format: Option<OsString>,
}

/// Reports that `what` was refused: to the engine's log, standard error and syslog. Counts it.
pub fn refusal(what: &str, error: &Error, engine: &EngineLog) {
    let remedy = match error.remedy() {
        Some(_) => "",
        None => "; run: oci-apparmor check",
    };
    let line = format!("oci-apparmor: {what} refused: {error}{remedy}");
    to_engine(&line, engine);
    to_stderr(&line);
    to_syslog(DAEMON_ERR, &line);
    counters::count(Counter::Refusal(error.kind()));
}

/// Reports something that is not a refusal, to syslog only.
pub fn notice(text: &str) {
    to_syslog(DAEMON_WARNING, &format!("oci-apparmor: {text}"));
}

/// Reports panics. The release build then aborts.
pub fn on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let line = format!("oci-apparmor: internal error, nothing was started: {panic}");
        let line = line.replace('\n', " ");
        to_stderr(&line);
        to_syslog(DAEMON_ERR, &line);
    }));
}

fn to_stderr(line: &str) {
    // A closed or full standard error must not turn a refusal into a crash.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

fn to_syslog(priority: u8, line: &str) {
    let Ok(socket) = UnixDatagram::unbound() else {
        return;
    };
    // A listener that does not read must not block the start of a container.
    if socket.set_nonblocking(true).is_err() {
        return;
    }
    let message = format!(
        "<{priority}>oci-apparmor[{}]: {}",
        std::process::id(),
        strip(line)
    );
    let _ = socket.send_to(message.as_bytes(), SYSLOG);
}

/// The line without the program's name, which syslog adds.
fn strip(line: &str) -> &str {
    line.strip_prefix("oci-apparmor: ").unwrap_or(line)
}

fn to_engine(line: &str, engine: &EngineLog) {
    let Some(path) = engine.log.as_deref().and_then(file) else {
        return;
    };
    let json = engine.format.as_deref() == Some(OsStr::new("json"));
    let entry = log_entry(line, json, SystemTime::now());
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    if let Ok(mut log) = opened {
        // One write, so that entries of other processes do not get into it.
        let _ = log.write_all(entry.as_bytes());
    }
}

/// The file that `--log` names. crun also accepts `file:`, `journald:` and `syslog:`.
fn file(log: &OsStr) -> Option<&OsStr> {
    let bytes = log.as_bytes();
    if let Some(path) = bytes.strip_prefix(b"file:") {
        return Some(OsStr::from_bytes(path));
    }
    let elsewhere = [&b"journald:"[..], b"syslog:"]
        .iter()
        .any(|p| bytes.starts_with(p));
    (!elsewhere && !bytes.is_empty()).then_some(log)
}

/// One entry as runc writes it. containerd ignores the whole log if `time` is not RFC 3339.
fn log_entry(line: &str, json: bool, now: SystemTime) -> String {
    let time = humantime::format_rfc3339_seconds(now).to_string();
    let quoted = serde_json::Value::from(line).to_string();
    if json {
        format!("{{\"level\":\"error\",\"msg\":{quoted},\"time\":\"{time}\"}}\n")
    } else {
        format!("time=\"{time}\" level=error msg={quoted}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_line_with_level_message_and_time() {
        let entry = log_entry("a \"b\"", true, SystemTime::UNIX_EPOCH);
        let value: serde_json::Value = serde_json::from_str(&entry).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(value["msg"], "a \"b\"");
        assert_eq!(value["time"], "1970-01-01T00:00:00Z");
        assert_eq!(entry.matches('\n').count(), 1);
        assert_eq!(
            log_entry("a", false, SystemTime::UNIX_EPOCH),
            "time=\"1970-01-01T00:00:00Z\" level=error msg=\"a\"\n"
        );
    }

    #[test]
    fn only_files_are_written_of_cruns_log_targets() {
        assert_eq!(file(OsStr::new("file:/a")), Some(OsStr::new("/a")));
        assert_eq!(file(OsStr::new("/a")), Some(OsStr::new("/a")));
        assert_eq!(file(OsStr::new("journald:x")), None);
        assert_eq!(file(OsStr::new("syslog:x")), None);
        assert_eq!(file(OsStr::new("")), None);
    }
}

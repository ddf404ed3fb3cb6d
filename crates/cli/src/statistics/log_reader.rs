//! The events of the kernel's log.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use oci_apparmor::error::{Error, Result};
use oci_apparmor_audit::event::{Event, LONGEST_LINE};

/// What was read, and what is missing.
#[derive(Debug)]
pub(crate) struct LogCoverage {
    /// Which logs.
    pub(crate) sources: Vec<String>,
    /// Since when these are complete.
    pub(crate) complete_since: Option<SystemTime>,
    /// What is missing, for people.
    pub(crate) gaps: Vec<String>,
}

/// Hands on all events since then.
pub(crate) fn read(
    _since: Option<SystemTime>,
    each: &mut dyn FnMut(&Event),
) -> Result<LogCoverage> {
    let path = Path::new("/dev/kmsg");
    let failed = |e: io::Error| Error::io("read", path, &e);
    let mut log = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    let mut record = vec![0; 2 * LONGEST_LINE];
    loop {
        match log.read(&mut record) {
            Ok(0) => break,
            Ok(length) => {
                if let Ok(event) = Event::parse(record.get(..length).unwrap_or_default()) {
                    each(&event);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {}
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(LogCoverage {
        sources: vec![path.display().to_string()],
        complete_since: None,
        gaps: Vec::new(),
    })
}

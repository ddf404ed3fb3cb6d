//! `denials`: what AppArmor refused, or would have refused, and to which containers.

use std::fmt::Write;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::command::users::Users;
use crate::print;
use oci_apparmor::apparmor::confinement::Confinement;
use oci_apparmor::error::{Error, Result, foreign};
use oci_apparmor_audit::tally::{EventKey, Occurrences, Tally};

/// The kernel's own log.
const KERNEL: &str = "/dev/kmsg";

/// Standard input, as a file.
const STDIN: &str = "-";

/// More than a record of the kernel's log (`PRINTKRB_RECORD_MAX`, kernel/printk/internal.h), and
/// than a line that is looked at.
const MAX_LINE: u64 = 32 << 10;

pub(crate) fn run(files: &[PathBuf], as_json: bool) -> Result<u8> {
    let mut tally = Tally::default();
    for file in files {
        let failed = |e: &io::Error| Error::io("read", file, e);
        if file == Path::new(STDIN) {
            lines(io::stdin().lock(), &mut tally).map_err(|e| failed(&e))?;
        } else {
            let opened = File::open(file).map_err(|e| failed(&e))?;
            lines(BufReader::new(opened), &mut tally).map_err(|e| failed(&e))?;
        }
    }
    if files.is_empty() {
        kernel_log(&mut tally).map_err(|e| {
            Error::io("read", Path::new(KERNEL), &e)
                .with_remedy("run as root, or name a log: journalctl -k | oci-apparmor denials -")
        })?;
    }
    let users = Users::look();
    match as_json {
        true => print(&format!("{:#}\n", to_json(&tally, &users)))?,
        false => print(&to_text(&tally, &users))?,
    }
    Ok(0)
}

/// Counts what is in a log of lines; one that is too long is none of the kernel's.
fn lines(mut log: impl BufRead, tally: &mut Tally) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = log.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok(());
        }
        tally.add(&String::from_utf8_lossy(&line));
    }
}

/// Counts what the kernel's log has; each read(2) is a record (Documentation/ABI/testing/dev-kmsg).
fn kernel_log(tally: &mut Tally) -> io::Result<()> {
    let mut log = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(KERNEL)?;
    let mut record = vec![0; usize::try_from(MAX_LINE).unwrap_or_default()];
    loop {
        match log.read(&mut record) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
                // Behind the first line there are properties of the record.
                tally.add(text.lines().next().unwrap_or_default());
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            // The record was overwritten meanwhile; the next read has the next one.
            Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// The containers that have the profile of an event now.
fn containers<'u>(users: &'u Users, what: &EventKey) -> Vec<&'u str> {
    let label = Confinement::new(&what.profile);
    let profiles = label.profiles();
    let of = profiles.into_iter().flat_map(|name| users.containers(name));
    of.collect()
}

fn to_json(tally: &Tally, users: &Users) -> Value {
    let row = |(what, seen): (&EventKey, &Occurrences)| {
        json!({
            "profile": what.profile,
            "verdict": what.verdict.as_str(),
            "operation": what.operation,
            "object": what.object,
            "denied": what.denied,
            "count": seen.count,
            "last": seen.timestamp,
            "comm": seen.comm,
            "containers": containers(users, what),
        })
    };
    json!({
        "events": tally.iter().map(row).collect::<Vec<_>>(),
        "left_out": tally.left_out,
    })
}

fn to_text(tally: &Tally, users: &Users) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{:<32}{:<9}{:>6}  {:<12}{:<8}OBJECT",
        "PROFILE", "VERDICT", "COUNT", "OPERATION", "DENIED"
    );
    for (what, seen) in tally.iter() {
        // What a container chose may hold anything.
        let line = format!(
            "{:<31} {:<8} {:>6}  {:<11} {:<7} {}",
            foreign(&what.profile),
            what.verdict.as_str(),
            seen.count,
            foreign(&what.operation),
            foreign(&what.denied),
            foreign(&what.object)
        );
        let _ = writeln!(text, "{}", line.trim_end());
        let comm = seen.comm.as_deref().map(foreign).unwrap_or_default();
        let ids = containers(users, what).join(", ");
        let of = match ids.is_empty() {
            true => String::new(),
            false => format!("; containers with this profile: {ids}"),
        };
        let _ = writeln!(text, "  last by {comm}{of}");
    }
    if tally.iter().next().is_none() {
        let _ = writeln!(
            text,
            "nothing was found; what an explicit `deny` rule refuses is never logged, and where \
             auditd runs, the events are in /var/log/audit/audit.log"
        );
    }
    if tally.left_out > 0 {
        let _ = writeln!(text, "and {} more events", tally.left_out);
    }
    text
}

//! `denials`: what AppArmor refused, or would have refused, and to which containers.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use serde::Serialize;

use crate::report::output::Output;
use crate::report::table::{Cell, Fit, Row, Table, Tone};
use crate::report::users::Users;
use oci_apparmor::apparmor::confinement::Confinement;
use oci_apparmor::apparmor::kernel::Kernel;
use oci_apparmor::error::{Error, Result};
use oci_apparmor_audit::tally::{EventKey, Occurrences, Tally};
use oci_apparmor_audit::verdict::Verdict;

/// Show what AppArmor refused, and to which containers
///
/// Counts what AppArmor refused (denied), or would have refused in complain mode (allowed), with
/// the containers that have the profile now.
///
/// Without a FILE, the kernel's log is read. It holds only the last events, and none where auditd
/// runs; then name /var/log/audit/audit.log. The kernel never logs what an explicit deny rule
/// refuses.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oci-apparmor denials
  oci-apparmor denials /var/log/audit/audit.log
  journalctl -k | oci-apparmor denials -")]
pub(crate) struct DenialsArguments {
    /// Logs to read instead of the kernel's; - is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The kernel's own log.
const KERNEL: &str = "/dev/kmsg";

/// Standard input, as a file.
const STDIN: &str = "-";

/// More than a record of the kernel's log (`PRINTKRB_RECORD_MAX`, kernel/printk/internal.h), and
/// than a line that is looked at.
const MAX_LINE: u64 = 32 << 10;

pub(crate) fn run(arguments: &DenialsArguments, output: Output) -> Result<u8> {
    let mut tally = Tally::default();
    for file in &arguments.files {
        let failed = |e: &io::Error| Error::io("read", file, e);
        if file == Path::new(STDIN) {
            lines(io::stdin().lock(), &mut tally).map_err(|e| failed(&e))?;
        } else {
            let opened = File::open(file).map_err(|e| failed(&e))?;
            lines(BufReader::new(opened), &mut tally).map_err(|e| failed(&e))?;
        }
    }
    if arguments.files.is_empty() {
        kernel_log(&mut tally).map_err(|e| {
            Error::io("read", Path::new(KERNEL), &e).with_remedy(
                "run it as root, or name a log: journalctl -k | oci-apparmor denials -",
            )
        })?;
    }
    let users = Users::look(&Kernel::default());
    if arguments.json {
        let events = tally.iter();
        output.json(&EventsJson {
            events: events
                .map(|(what, seen)| EventJson::of(what, seen, &users))
                .collect(),
            left_out: tally.left_out,
        })?;
        return Ok(0);
    }
    if tally.iter().next().is_none() {
        output.line(
            "No events found. EventKey an explicit deny rule refuses is never logged; where auditd \
             runs, the events are in /var/log/audit/audit.log.",
        )?;
        return Ok(0);
    }
    output.table(&table(&tally, &users, output))?;
    if tally.left_out > 0 {
        output.line(format!("{} more events are not shown.", tally.left_out))?;
    }
    Ok(0)
}

/// Counts the events in a log of lines. A line that is too long is cut; the kernel writes none.
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

/// Counts the events in the kernel's log; each read(2) is a record (Documentation/ABI/testing/dev-kmsg).
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
                // The lines after the first are properties of the record.
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
    let of = label
        .profiles()
        .into_iter()
        .flat_map(|name| users.containers(name));
    of.collect()
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct EventsJson<'t> {
    events: Vec<EventJson<'t>>,
    left_out: u64,
}

/// Events that say the same.
#[derive(Debug, Serialize)]
struct EventJson<'t> {
    profile: &'t str,
    verdict: &'static str,
    operation: &'t str,
    object: &'t str,
    denied: &'t str,
    count: u64,
    last: Option<&'t str>,
    comm: Option<&'t str>,
    containers: Vec<&'t str>,
}

impl<'t> EventJson<'t> {
    fn of(what: &'t EventKey, seen: &'t Occurrences, users: &'t Users) -> Self {
        Self {
            profile: &what.profile,
            verdict: what.verdict.as_str(),
            operation: &what.operation,
            object: &what.object,
            denied: &what.denied,
            count: seen.count,
            last: seen.timestamp.as_deref(),
            comm: seen.comm.as_deref(),
            containers: containers(users, what),
        }
    }
}

fn table(tally: &Tally, users: &Users, output: Output) -> Table {
    let mut table = Table::new(&[
        ("PROFILE", Fit::Wrap),
        ("VERDICT", Fit::Whole),
        ("COUNT", Fit::Whole),
        ("OPERATION", Fit::Whole),
        ("DENIED", Fit::Whole),
        ("OBJECT", Fit::Wrap),
    ]);
    for (what, seen) in tally.iter() {
        let tone = match what.verdict {
            Verdict::Denied | Verdict::Killed => Tone::Bad,
            Verdict::Allowed => Tone::Warning,
            _ => Tone::Plain,
        };
        let mut row = Row::new([
            Cell::or_dash(Some(&what.profile)),
            Cell::new(what.verdict.as_str(), tone),
            Cell::from(seen.count.to_string()),
            Cell::or_dash(Some(&what.operation)),
            Cell::or_dash(Some(&what.denied)),
            Cell::or_dash(Some(&what.object)),
        ]);
        let comm = seen.comm.as_deref().unwrap_or("?");
        let ids = containers(users, what).into_iter().map(|id| output.id(id));
        let ids: Vec<&str> = ids.collect();
        row.note(match ids.is_empty() {
            true => format!("last by {comm}"),
            false => format!(
                "last by {comm}; containers with this profile: {}",
                ids.join(", ")
            ),
        });
        table.push(row);
    }
    table
}

//! `denials`: what AppArmor refused, or would have refused, and to which containers.

use std::collections::BTreeMap;
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
use oci_apparmor_audit::advice::advice;
use oci_apparmor_audit::event::LONGEST_LINE;
use oci_apparmor_audit::tally::{EventKey, Occurrences, Tally};
use oci_apparmor_audit::text::OutsideText;
use oci_apparmor_audit::unread::UnreadCounts;
use oci_apparmor_audit::verdict::Verdict;

/// Show what AppArmor refused, and to which containers
///
/// Counts what AppArmor refused (denied), or would have refused in complain mode (allowed), with
/// the containers that have the profile now.
///
/// Without a FILE, the kernel's log is read. It holds only the last events, and none where auditd
/// runs; then name /var/log/audit/audit.log. The kernel never logs what an explicit deny rule
/// refuses. Lines of AppArmor that cannot be read are counted.
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

/// More than a line that is read, and than a record of the kernel's log (`PRINTKRB_RECORD_MAX`,
/// kernel/printk/internal.h).
const MAX_LINE: usize = 2 * LONGEST_LINE;

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
        output.json(&EventsJson::of(&tally, &users))?;
        return Ok(0);
    }
    if tally.iter().next().is_none() {
        output.line(
            "No events found. What an explicit deny rule refuses is never logged; where auditd \
             runs, the events are in /var/log/audit/audit.log.",
        )?;
    } else {
        output.table(&table(&tally, &users, output))?;
    }
    gaps(&tally, output)?;
    Ok(0)
}

/// Says what is missing in the table.
fn gaps(tally: &Tally, output: Output) -> Result<()> {
    for (profile, count) in tally.left_out() {
        output.line(format!(
            "More events of {profile}, of too many kinds to be shown: {count}."
        ))?;
    }
    let others = tally.of_other_profiles();
    if others > 0 {
        output.line(format!(
            "More events, of too many profiles to be shown: {others}."
        ))?;
    }
    let UnreadCounts {
        malformed,
        unknown_verdict,
        ..
    } = tally.unread();
    if malformed > 0 {
        output.line(format!(
            "Lines that mention AppArmor but could not be read: {malformed} (they are cut, or not as \
             the kernel writes them)."
        ))?;
    }
    if unknown_verdict > 0 {
        output.line(format!(
            "Records of AppArmor with an unknown verdict, or without one: {unknown_verdict}."
        ))?;
    }
    Ok(())
}

/// Counts the events in a log of lines. The rest of a line that is too long is skipped, so that it is
/// never read as a line of its own.
fn lines(mut log: impl BufRead, tally: &mut Tally) -> io::Result<()> {
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = log.by_ref().take(limit).read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok(());
        }
        tally.add(&line);
        if length == MAX_LINE && !line.ends_with(b"\n") {
            log.skip_until(b'\n')?;
        }
    }
}

/// Counts the events in the kernel's log; each read(2) is a record (Documentation/ABI/testing/dev-kmsg).
fn kernel_log(tally: &mut Tally) -> io::Result<()> {
    let mut log = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(KERNEL)?;
    let mut record = vec![0; MAX_LINE];
    loop {
        match log.read(&mut record) {
            Ok(0) => return Ok(()),
            Ok(length) => tally.add(record.get(..length).unwrap_or_default()),
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
    // A profile that a container can have has a name in ASCII.
    let label = Confinement::new(what.profile.utf8().unwrap_or_default());
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
    left_out_by_profile: BTreeMap<String, u64>,
    unread: UnreadJson,
}

/// Lines of AppArmor that could not be read.
#[derive(Debug, Serialize)]
struct UnreadJson {
    malformed: u64,
    unknown_verdict: u64,
}

impl<'t> EventsJson<'t> {
    fn of(tally: &'t Tally, users: &'t Users) -> Self {
        let events = tally.iter();
        let left_out = tally.left_out();
        let unread = tally.unread();
        Self {
            events: events
                .map(|(what, seen)| EventJson::of(what, seen, users))
                .collect(),
            left_out: tally.all_left_out(),
            left_out_by_profile: left_out
                .map(|(profile, count)| (profile.to_string(), count))
                .collect(),
            unread: UnreadJson {
                malformed: unread.malformed,
                unknown_verdict: unread.unknown_verdict,
            },
        }
    }
}

/// Events that say the same.
#[derive(Debug, Serialize)]
struct EventJson<'t> {
    profile: String,
    verdict: &'static str,
    operation: &'t str,
    object: &'t str,
    denied: &'t str,
    info: Option<String>,
    error: Option<i32>,
    count: u64,
    last: Option<String>,
    comm: Option<String>,
    containers: Vec<&'t str>,
}

impl<'t> EventJson<'t> {
    fn of(what: &'t EventKey, seen: &'t Occurrences, users: &'t Users) -> Self {
        Self {
            profile: what.profile.to_string(),
            verdict: what.verdict.as_str(),
            operation: &what.operation,
            object: &what.object,
            denied: &what.denied,
            info: what.info.as_ref().map(OutsideText::to_string),
            error: what.error,
            count: seen.count,
            last: seen.stamp.map(|stamp| stamp.to_string()),
            comm: seen.comm.as_ref().map(OutsideText::to_string),
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
            Cell::or_dash(Some(what.profile.to_string())),
            Cell::new(what.verdict.as_str(), tone),
            Cell::from(seen.count.to_string()),
            Cell::or_dash(Some(&what.operation)),
            Cell::or_dash(Some(&what.denied)),
            Cell::or_dash(Some(&what.object)),
        ]);
        let comm = seen.comm.as_ref();
        let comm = comm.map_or_else(|| "?".to_owned(), OutsideText::to_string);
        let ids = containers(users, what).into_iter().map(|id| output.id(id));
        let ids: Vec<&str> = ids.collect();
        row.note(match ids.is_empty() {
            true => format!("last by {comm}"),
            false => format!(
                "last by {comm}; containers with this profile: {}",
                ids.join(", ")
            ),
        });
        if let Some(info) = &what.info {
            row.note(match what.error {
                Some(error) => format!("the kernel says: {info} (error {error})"),
                None => format!("the kernel says: {info}"),
            });
            if let Some(advice) = advice(info.bytes()) {
                row.note(advice);
            }
        }
        table.push(row);
    }
    table
}

//! `denials`: what AppArmor refused, or would have refused, and to which containers.

mod closing;
mod collection;
mod filter;
mod json;
mod text;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueHint};

use crate::guard::{Guard, Restore};
use crate::log::{Entry, EventLog, LogOptions, Owners, Since, SourceKind, boot};
use crate::report::output::Output;
use crate::watch::wakeup::Signals;
use collection::Collection;
use filter::{Filter, PodName};
use oci_apparmor::error::Result;

/// Show what AppArmor refused, and to which containers
///
/// Lists what AppArmor refused (denied), or would have refused in complain mode (allowed): one line
/// for each distinct access of a container, with a count. The container of an event is that of its
/// process; if the process has ended, it is the only container that has the profile, or there are
/// candidates.
///
/// Without --source, the most complete log is read, from boot on: that of auditd if it runs, else the
/// journal, else the kernel's. With --follow, events come from the kernel by netlink as they happen,
/// whether auditd runs or not. What could not be seen is a number for each cause, and "No denials" is
/// only said of a time that was seen completely.
///
/// The kernel does not log what an explicit deny rule refuses; --show-denies makes it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oci-apparmor denials
  # While something is tried; Ctrl-C ends it.
  oci-apparmor denials --follow --container web
  # What explicit deny rules refuse, too.
  oci-apparmor denials --show-denies --profile docker-default
  oci-apparmor denials --since 10m --pod shop/web-0
  journalctl -k | oci-apparmor denials -")]
pub(crate) struct DenialsArguments {
    /// Logs to read; - is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "source")]
    files: Vec<PathBuf>,
    /// Go on with what happens from now on, until a signal; earlier events only with --since
    #[arg(short, long)]
    follow: bool,
    /// Leave out what is older: an RFC 3339 time, 10m, 2h, boot, or @SECONDS since 1970
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    since: Option<Since>,
    /// Only what is, or may be, of this container: its id, the beginning of a long one, or its name
    #[arg(long, value_name = "ID|NAME")]
    container: Option<String>,
    /// Only what is, or may be, of the containers of this pod
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = PodName::parse)]
    pod: Option<PodName>,
    /// Only what this profile, or a child of it, decided
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Where to read: auto, netlink, audit-log, kmsg, journal, a FILE, or - for standard input
    #[arg(long, value_name = "SOURCE", value_parser = source)]
    source: Option<SourceKind>,
    /// Print one JSON object for each event, and one for the end
    #[arg(long)]
    json: bool,
    /// Follow, and let the kernel log what explicit deny rules refuse, on the whole node, until the
    /// end of this command
    #[arg(long)]
    show_denies: bool,
}

fn source(word: &str) -> std::result::Result<SourceKind, std::convert::Infallible> {
    Ok(SourceKind::named(word))
}

/// How long to wait at the end for another event that the kernel has queued, and for all of them: a
/// container may go on forever.
const LAST: Duration = Duration::from_millis(300);
const LONGEST: Duration = Duration::from_secs(10);

/// How often to see whether the output is still read.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) fn run(arguments: &DenialsArguments, output: Output) -> Result<u8> {
    let follow = arguments.follow || arguments.show_denies;
    let options = options(arguments, follow);
    let signals = match follow {
        true => Some(Signals::catch()?),
        false => None,
    };
    // Before the log: the processes of its events must be known.
    let owners = Owners::new(follow);
    let filter = Filter {
        container: arguments.container.clone(),
        pod: arguments.pod.clone(),
        profile: arguments.profile.clone(),
    };
    if !follow {
        // A container that is waited for need not exist yet.
        filter.check(&owners)?;
    }
    let mut events = EventLog::open(&options)?;
    if let Some(signals) = &signals {
        events.wake_for(signals.descriptor()?);
        owners
            .descriptor()
            .into_iter()
            .for_each(|fd| events.wake_for(fd));
    }
    let guard = match arguments.show_denies {
        true => Some(Guard::arm(&Restore::AuditParameter)?),
        false => None,
    };
    if follow {
        // On a busy node, the kernel's own thread that sends the records goes first; the socket holds
        // them until there is time.
        let _ = rustix::process::nice(10);
        announce(&events, &owners, guard.is_some());
    }
    let mut collection = Collection::new(filter, owners, output, arguments.json, follow);
    let limit = follow.then_some(LOOK);
    let mut count: u64 = 0;
    let mut failed = Ok(());
    loop {
        count = count.saturating_add(1);
        let mut look = count.is_multiple_of(100);
        match events.next(limit) {
            Ok(Some(Entry::Event(event))) => collection.add(&event)?,
            Ok(Some(Entry::Unread(cause))) => log::debug!("a line could not be read: {cause:?}"),
            // What was seen until then is shown before the error.
            Err(e) if follow => {
                failed = Err(e);
                break;
            }
            Err(e) => return Err(e),
            Ok(None) if events.is_at_end() => break,
            Ok(None) => {
                collection.update();
                look = true;
            }
        }
        if signals.as_ref().is_some_and(Signals::any) || (follow && look && !output.is_read()) {
            break;
        }
    }
    let restored = guard.map_or(Ok(()), Guard::disarm);
    if follow && failed.is_ok() {
        failed = drain(&mut events, &mut collection);
    }
    collection.close(&mut events, options.since)?;
    restored.and(failed).map(|()| 0)
}

/// Reads what the kernel has queued.
fn drain(events: &mut EventLog, collection: &mut Collection) -> Result<()> {
    let (begun, mut heard) = (Instant::now(), Instant::now());
    while heard.elapsed() < LAST && begun.elapsed() < LONGEST && !events.is_at_end() {
        match events.next(Some(LAST))? {
            Some(Entry::Event(event)) => {
                collection.add(&event)?;
                heard = Instant::now();
            }
            Some(Entry::Unread(_)) => {}
            None => collection.update(),
        }
    }
    Ok(())
}

fn options(arguments: &DenialsArguments, follow: bool) -> LogOptions {
    let files = arguments.files.iter().cloned().map(SourceKind::file);
    let sources: Vec<SourceKind> = files.chain(arguments.source.clone()).collect();
    let is_file = |source: &SourceKind| matches!(source, SourceKind::File(_) | SourceKind::Stdin);
    let since = arguments.since.map(|Since(time)| time);
    // A log of this system may have years; a file that is named has what is wanted.
    let since = match follow || sources.iter().any(is_file) {
        true => since,
        false => since.or_else(boot),
    };
    LogOptions {
        sources,
        follow,
        since,
    }
}

/// Says on standard error that what happens from now on will be seen.
fn announce(log: &EventLog, owners: &Owners, shows_denies: bool) {
    let coverage = log.coverage();
    let mut text = format!(
        "oci-apparmor: following {}; press Ctrl-C to end\n",
        coverage.sources.join(", ")
    );
    for advice in coverage.advice {
        text.push_str(&format!("oci-apparmor: {advice}\n"));
    }
    if !owners.remembers() {
        text.push_str(
            "oci-apparmor: the containers of processes that end at once are known only by their \
             profiles, since the kernel does not report processes to this command\n",
        );
    }
    if shows_denies {
        text.push_str(
            "oci-apparmor: until then, the kernel logs what explicit deny rules refuse\n",
        );
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}

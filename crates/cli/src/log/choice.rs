//! Which sources are read, and in which order.

use std::path::Path;
use std::time::SystemTime;

use rustix::io::Errno;
use rustix::net::netlink;

use oci_apparmor::error::{Error, Kind, Result};

use super::audit_log::{self, AuditLogReader};
use super::audit_status::AuditStatus;
use super::coverage::Coverage;
use super::files::FileReader;
use super::journal::{self, JournalReader};
use super::kmsg::KmsgReader;
use super::multicast::MulticastReader;
use super::netlink::NetlinkSocket;
use super::reading::LogReader;
use super::since::boot;
use super::source::{LogOptions, SourceKind};

/// What is read.
#[derive(Default)]
pub(super) struct Chosen {
    /// One after the other, to their ends.
    pub(super) history: Vec<Box<dyn LogReader>>,
    /// Then, all at once.
    pub(super) live: Vec<Box<dyn LogReader>>,
    /// When the first of `live` was opened, if it hears what is also written to the history.
    pub(super) listening: Option<SystemTime>,
    pub(super) coverage: Coverage,
}

impl Chosen {
    fn add(&mut self, name: impl ToString, reader: Box<dyn LogReader>, live: bool) {
        self.coverage.sources.push(name.to_string());
        match live {
            true => self.live.push(reader),
            false => self.history.push(reader),
        }
    }
}

/// Opens what is wanted.
pub(super) fn open(options: &LogOptions, status: Option<AuditStatus>) -> Result<Chosen> {
    let mut chosen = Chosen::default();
    if let Err(Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT) = NetlinkSocket::open(netlink::AUDIT, 0)
    {
        chosen.coverage.is_silent = true;
    }
    match &*options.sources {
        [] => automatic(options, status, &mut chosen)?,
        sources => {
            for source in sources {
                named(source, options, status, &mut chosen)?;
            }
        }
    }
    let coverage = &chosen.coverage;
    if coverage.is_silent && coverage.is_of_this_system && coverage.advice.is_empty() {
        chosen.coverage.advice.push(
            "the kernel logs no denials: it has no audit system, or was booted with audit=0"
                .to_owned(),
        );
    }
    Ok(chosen)
}

/// A source that is named must be readable.
fn named(
    source: &SourceKind,
    options: &LogOptions,
    status: Option<AuditStatus>,
    chosen: &mut Chosen,
) -> Result<()> {
    let LogOptions { follow, since, .. } = *options;
    let skip = follow && since.is_none();
    chosen.coverage.is_of_this_system |= !matches!(source, SourceKind::Stdin | SourceKind::File(_));
    let reader: Box<dyn LogReader> = match source {
        SourceKind::Auto => return automatic(options, status, chosen),
        SourceKind::Netlink if !follow => {
            let why = "netlink has only what is logged from now on";
            return Err(
                Error::new(Kind::Usage, why).with_remedy("add --follow, or use another --source")
            );
        }
        SourceKind::Netlink => {
            if since.is_some() {
                let advice = "netlink has nothing from before now; run it without --source to see \
                              what a log has";
                chosen.coverage.advice.push(advice.to_owned());
            }
            Box::new(MulticastReader::open()?)
        }
        SourceKind::AuditLog => {
            let path = audit_log::path();
            let reader = AuditLogReader::open(&path, since, follow)?;
            chosen.add(path.display(), Box::new(reader), follow);
            return Ok(());
        }
        SourceKind::Kmsg => {
            without_audit("the kernel's log", || None, options, status, chosen);
            Box::new(KmsgReader::open(follow, skip)?)
        }
        SourceKind::Journal => {
            let reader = JournalReader::open(since, follow)?;
            let heard_since = journal::hears_audit_since;
            without_audit("the journal", heard_since, options, status, chosen);
            Box::new(reader)
        }
        SourceKind::Stdin => Box::new(FileReader::stdin()?),
        SourceKind::File(path) => {
            let mut reader = FileReader::open(path, follow).map_err(|e| {
                e.of(Kind::NotFound)
                    .with_remedy("name a file, or one of: auto, netlink, audit-log, kmsg, journal")
            })?;
            if skip {
                reader.skip()?;
            }
            Box::new(reader)
        }
    };
    let name = match source {
        SourceKind::Kmsg => "the kernel's log".to_owned(),
        SourceKind::Journal => "the journal".to_owned(),
        other => other.to_string(),
    };
    chosen.add(name, reader, follow);
    Ok(())
}

/// The most complete sources that can be read.
fn automatic(options: &LogOptions, status: Option<AuditStatus>, chosen: &mut Chosen) -> Result<()> {
    if !options.follow {
        return best_log(options, status, chosen);
    }
    let listener = match MulticastReader::open() {
        Ok(listener) => listener,
        Err(e) => {
            best_log(options, status, chosen).map_err(|_| e.clone())?;
            chosen.coverage.advice.push(e.to_string());
            return Ok(());
        }
    };
    chosen.listening = Some(SystemTime::now());
    chosen.coverage.is_of_this_system = true;
    if options.since.is_some() {
        let history = LogOptions {
            follow: false,
            ..options.clone()
        };
        best_log(&history, status, chosen)?;
    }
    chosen.add("netlink", Box::new(listener), true);
    Ok(())
}

/// The log that has most: that of auditd where it runs. Otherwise the journal, which has more than the
/// kernel's log where that was overwritten, and what was before the last boot.
fn best_log(options: &LogOptions, status: Option<AuditStatus>, chosen: &mut Chosen) -> Result<()> {
    let mut order = Vec::new();
    if has_daemon(status) {
        order.push(SourceKind::AuditLog);
    }
    if journal::is_in_use() {
        order.push(SourceKind::Journal);
    }
    order.push(SourceKind::Kmsg);
    let mut failures: Vec<Error> = Vec::new();
    for source in &order {
        match named(source, options, status, chosen) {
            Ok(()) => {
                let failed = failures.iter().map(Error::to_string);
                chosen.coverage.advice.extend(failed);
                return Ok(());
            }
            Err(e) => failures.push(e),
        }
    }
    let last = failures.pop();
    Err(last.unwrap_or_else(|| Error::new(Kind::NotFound, "there is no log")))
}

/// Notes that auditd gets, or got, the records instead of a log, unless the log gets them itself since
/// some time.
fn without_audit(
    log: &str,
    heard_since: impl Fn() -> Option<SystemTime>,
    options: &LogOptions,
    status: Option<AuditStatus>,
    chosen: &mut Chosen,
) {
    const REMEDY: &str = "run: oci-apparmor denials --source audit-log";
    let coverage = &mut chosen.coverage;
    if has_daemon(status) {
        if heard_since().is_none() {
            coverage.is_silent = true;
            let advice = format!("auditd runs, so {log} has no denials; {REMEDY}");
            coverage.advice.push(advice);
        }
        return;
    }
    if options.follow && options.since.is_none() {
        return;
    }
    let log = audit_log::path().metadata();
    let written = log.and_then(|meta| meta.modified());
    let wanted = options.since.max(boot());
    if let Ok(written) = written
        && wanted.is_some_and(|wanted| written > wanted)
        && heard_since().is_none_or(|heard| heard > written)
    {
        coverage.elsewhere_until = Some(written);
        let advice = format!("auditd ran since boot, and has the denials of that time; {REMEDY}");
        coverage.advice.push(advice);
    }
}

/// Whether auditd runs. The kernel prints no records then.
fn has_daemon(status: Option<AuditStatus>) -> bool {
    match status {
        Some(status) => status.daemon != 0,
        // Without the privilege to ask: its file, since /run is empty after a boot.
        None => Path::new("/run/auditd.pid").exists(),
    }
}

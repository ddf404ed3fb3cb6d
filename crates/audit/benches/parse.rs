//! How fast lines of a log are read, on one core:
//!
//!     cargo bench -p oci-apparmor-audit
//!
//! The log is made here: events of each class, some with names in hexadecimal digits, and other
//! records and messages between them, as in audit.log and the kernel's log.

#![allow(clippy::print_stdout, clippy::arithmetic_side_effects)]

use std::hint::black_box;
use std::time::Instant;

use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::suggestion::{Collector, SuggestionOptions};
use oci_apparmor_audit::tally::Tally;

/// Lines of the log.
const LINES: usize = 200_000;

/// How often it is read.
const ROUNDS: u32 = 5;

fn log() -> Vec<String> {
    (0..LINES).map(line).collect()
}

fn line(number: usize) -> String {
    let profile = number % 50;
    let header = match number % 2 {
        0 => format!("type=AVC msg=audit(1795342738.894:{number}): "),
        _ => format!("[   12.345678] audit: type=1400 audit(1795342738.894:{number}): "),
    };
    let start = |operation: &str, class: &str| {
        format!(
            "{header}apparmor=\"DENIED\" operation=\"{operation}\" class=\"{class}\" \
             profile=\"web{profile}\" "
        )
    };
    let process = format!("pid={number} comm=\"nginx\" ");
    match number % 10 {
        0..=3 => format!(
            "{}name=\"/usr/share/nginx/html/{number}/index.html\" {process}requested_mask=\"r\" \
             denied_mask=\"r\" fsuid=101 ouid=0",
            start("open", "file")
        ),
        4 => format!(
            "{}name=2F7661722F6C69622F612066696C65{number:08} {process}requested_mask=\"wc\" \
             denied_mask=\"wc\" fsuid=101 ouid=0\u{1d}FSUID=\"nginx\" OUID=\"root\"",
            start("mknod", "file")
        ),
        5 => format!(
            "{}{process}family=\"inet\" sock_type=\"stream\" protocol=6 requested_mask=\"create\" \
             denied_mask=\"create\"",
            start("create", "net")
        ),
        6 => format!(
            "{}{process}capability=21  capname=\"sys_admin\"",
            start("capable", "cap")
        ),
        7 => format!(
            "{}info=\"failed mntpnt match\" error=-13 name=\"/mnt/\" {process}fstype=\"tmpfs\" \
             srcname=\"tmpfs\" flags=\"rw, nosuid, nodev\"",
            start("mount", "mount")
        ),
        8 => format!(
            "type=SYSCALL msg=audit(1795342738.894:{number}): arch=c000003e syscall=257 success=no \
             exit=-13 a0=ffffff9c a1=7ffc8d a2=0 a3=0 items=1 ppid=1 {process}exe=\"/usr/sbin/nginx\" \
             subj=web key=(null)"
        ),
        _ => format!("[   12.345678] usb 1-{number}: new high-speed USB device using xhci_hcd"),
    }
}

/// Reads the log some times and prints the speed of the fastest.
fn measure(what: &str, log: &[String], mut read: impl FnMut(&[String]) -> usize) {
    let bytes: usize = log.iter().map(String::len).sum();
    let mut best = f64::MAX;
    let mut events = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        events = black_box(read(black_box(log)));
        best = best.min(start.elapsed().as_secs_f64());
    }
    #[allow(clippy::cast_precision_loss)]
    let per_second = |count: usize| count as f64 / best / 1e6;
    println!(
        "{what}: {:.0} MB/s, {:.2} million lines/s, {:.2} million events/s",
        per_second(bytes),
        per_second(log.len()),
        per_second(events)
    );
}

fn main() {
    let log = log();
    measure("parse", &log, |log| {
        let events = log
            .iter()
            .filter(|line| Event::parse(line.as_bytes()).is_ok());
        events.count()
    });
    measure("parse and count", &log, |log| {
        let mut tally = Tally::default();
        log.iter().for_each(|line| tally.add(line.as_bytes()));
        let counted: u64 = tally.iter().map(|(_, seen)| seen.count).sum();
        usize::try_from(counted + tally.all_left_out()).unwrap_or(usize::MAX)
    });
    measure("parse and learn", &log, |log| {
        let mut collector = Collector::default();
        let mut events = 0;
        for line in log {
            if let Ok(event) = Event::parse(line.as_bytes()) {
                collector.add(&event);
                events += 1;
            }
        }
        black_box(collector.profiles().count());
        events
    });
    let mut collector = Collector::default();
    let events = log.iter().flat_map(|line| Event::parse(line.as_bytes()));
    events.for_each(|event| collector.add(&event));
    let start = Instant::now();
    let options = SuggestionOptions::default();
    let rules: usize = collector
        .profiles()
        .map(|profile| collector.suggestion(profile, &options).rules.len())
        .sum();
    println!(
        "suggest {rules} rules: {:.2} s",
        start.elapsed().as_secs_f64()
    );
}

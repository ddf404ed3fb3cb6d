//! The kernel's own log, `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg).
//!
//! Audit records are printed there only while no auditd is registered, and at most so many in some
//! time (`kauditd_printk_skb()`, kernel/audit.c). What was suppressed is printed as a number with the
//! next record after that time.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use oci_apparmor::error::{Error, Result};
use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::kmsg::kernel_text;

use super::gaps::Gaps;
use super::lines::MAX_LINE;
use super::reading::{self, LogReader, Reading};

const PATH: &str = "/dev/kmsg";

/// The kernel's rate limit, and its defaults (`printk_ratelimit_state`, kernel/printk/printk.c).
const BURST: (&str, usize) = ("/proc/sys/kernel/printk_ratelimit_burst", 10);
const INTERVAL: (&str, usize) = ("/proc/sys/kernel/printk_ratelimit", 5);

/// Reads `/dev/kmsg`.
#[derive(Debug)]
pub(super) struct KmsgReader {
    file: File,
    record: Vec<u8>,
    /// The number of the last record.
    last: Option<u64>,
    complete_since: Option<SystemTime>,
    limit: RateLimit,
    follow: bool,
}

impl KmsgReader {
    /// `skip`: leaves out what was logged until now.
    ///
    /// # Errors
    /// Without CAP_SYSLOG, where `kernel.dmesg_restrict` is set.
    pub(super) fn open(follow: bool, skip: bool) -> Result<Self> {
        let path = Path::new(PATH);
        let failed = |e: io::Error| {
            Error::io("read", path, &e).with_remedy(
                "run it as root, or name a log: journalctl -k | oci-apparmor denials -",
            )
        };
        let mut file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(failed)?;
        if skip {
            file.seek(SeekFrom::End(0)).map_err(failed)?;
        }
        Ok(Self {
            file,
            record: vec![0; MAX_LINE],
            last: None,
            complete_since: skip.then(SystemTime::now),
            limit: RateLimit::of_this_kernel(),
            follow,
        })
    }

    /// Notes the prefix of a record: `PRIORITY,NUMBER,MICROSECONDS,…`.
    fn note(&mut self, length: usize, gaps: &mut Gaps) {
        let record = self.record.get(..length).unwrap_or_default();
        let Some(prefix) = Prefix::parse(record) else {
            return;
        };
        match self.last {
            None if self.complete_since.is_some() => {}
            // The kernel's buffer still has everything since boot.
            None if prefix.number == 0 => self.complete_since = super::since::boot(),
            None => self.complete_since = wall_clock(prefix.time),
            Some(last) => {
                let missed = prefix.number.saturating_sub(last).saturating_sub(1);
                gaps.overwritten = gaps.overwritten.saturating_add(missed);
            }
        }
        self.last = Some(prefix.number);
        let text = kernel_text(record);
        let text = text.as_ref().map(|text| text.bytes()).unwrap_or_default();
        if let Some(count) = suppressed(text) {
            gaps.suppressed = gaps.suppressed.saturating_add(count);
        }
        if text.starts_with(b"audit: type=") {
            self.limit.printed(prefix.time);
        }
    }
}

impl LogReader for KmsgReader {
    fn read(&mut self, gaps: &mut Gaps) -> Result<Reading> {
        loop {
            match self.file.read(&mut self.record) {
                Ok(0) => return Ok(Reading::End),
                Ok(length) => {
                    self.note(length, gaps);
                    let record = self.record.get(..length).unwrap_or_default();
                    if let Some(entry) = reading::entry(Event::parse(record), gaps) {
                        return Ok(Reading::Entry(entry));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    gaps.perhaps_suppressed = self.limit.is_reached();
                    return Ok(match self.follow {
                        true => Reading::Nothing,
                        false => Reading::End,
                    });
                }
                // Records were overwritten; the number of the next one says how many.
                Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io("read", Path::new(PATH), &e)),
            }
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn complete_since(&self) -> Option<SystemTime> {
        self.complete_since
    }
}

/// The prefix of a record.
#[derive(Debug, PartialEq, Eq)]
struct Prefix {
    number: u64,
    /// The time since boot.
    time: Duration,
}

impl Prefix {
    fn parse(record: &[u8]) -> Option<Self> {
        let prefix = record.split(|byte| *byte == b';').next()?;
        let mut parts = std::str::from_utf8(prefix).ok()?.split(',').skip(1);
        Some(Self {
            number: parts.next()?.parse().ok()?,
            time: Duration::from_micros(parts.next()?.parse().ok()?),
        })
    }
}

/// The number in `kauditd_printk_skb: 43 callbacks suppressed` (`___ratelimit()`, lib/ratelimit.c).
pub(super) fn suppressed(text: &[u8]) -> Option<u64> {
    let rest = text.strip_prefix(b"kauditd_printk_skb: ")?;
    let number = rest.strip_suffix(b" callbacks suppressed")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// The time of day of a time since boot. The clock of the kernel's log stands still while the machine
/// sleeps; so this is not before the true time.
fn wall_clock(since_boot: Duration) -> Option<SystemTime> {
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::new(now.tv_sec.try_into().ok()?, now.tv_nsec.try_into().ok()?);
    SystemTime::now().checked_sub(now.checked_sub(since_boot)?)
}

/// Whether the kernel may have suppressed records after the last one that it printed.
#[derive(Debug)]
struct RateLimit {
    burst: usize,
    interval: Duration,
    /// When the last records were printed, at most `burst` of them.
    times: VecDeque<Duration>,
}

impl RateLimit {
    fn of_this_kernel() -> Self {
        let number = |(path, default): (&str, usize)| {
            let text = fs::read_to_string(path).ok();
            text.and_then(|text| text.trim().parse().ok())
                .unwrap_or(default)
        };
        Self {
            burst: number(BURST).min(1 << 10),
            interval: Duration::from_secs(number(INTERVAL) as u64),
            times: VecDeque::new(),
        }
    }

    fn printed(&mut self, time: Duration) {
        self.times.push_back(time);
        while self.times.len() > self.burst {
            self.times.pop_front();
        }
    }

    fn is_reached(&self) -> bool {
        // Without an interval, nothing is suppressed.
        match (self.times.front(), self.times.back()) {
            (Some(first), Some(last)) if self.times.len() == self.burst => {
                last.saturating_sub(*first) < self.interval
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_suppressed_lines() {
        let prefix = Prefix::parse(b"5,339,5140900,-;audit: type=1400");
        let time = Duration::from_micros(5_140_900);
        assert_eq!(prefix, Some(Prefix { number: 339, time }));
        for record in [&b""[..], b"5", b"5,x,1,-;a", b";5,1,1"] {
            assert_eq!(Prefix::parse(record), None);
        }
        let line = b"kauditd_printk_skb: 43 callbacks suppressed";
        assert_eq!(suppressed(line), Some(43));
        for line in [
            &b"x: 43 callbacks suppressed"[..],
            b"kauditd_printk_skb: x callbacks suppressed",
        ] {
            assert_eq!(suppressed(line), None);
        }
    }

    #[test]
    fn a_full_burst_at_the_end_may_hide_more() {
        let mut limit = RateLimit {
            burst: 3,
            interval: Duration::from_secs(5),
            times: VecDeque::new(),
        };
        for (second, reached) in [(0, false), (1, false), (2, true), (5, true), (7, false)] {
            limit.printed(Duration::from_secs(second));
            assert_eq!(limit.is_reached(), reached, "{second}");
        }
    }

    #[test]
    fn times_since_boot_are_in_the_past() {
        let first = wall_clock(Duration::ZERO).unwrap();
        let later = wall_clock(Duration::from_millis(10)).unwrap();
        assert!(first < later && later < SystemTime::now());
    }
}

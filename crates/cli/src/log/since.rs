//! What `--since` means.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time of `--since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Since(pub(crate) SystemTime);

impl Since {
    /// Reads `2026-11-26T16:00:00Z`, `10m` ago, `boot` or `@1795342738`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Self::at(text, SystemTime::now(), boot())
    }

    fn at(text: &str, now: SystemTime, boot: Option<SystemTime>) -> Result<Self, String> {
        let wrong = || {
            "write an RFC 3339 time (2026-11-26T16:00:00Z), a duration (10m, 2h, 1day), boot, or \
             @SECONDS since 1970"
                .to_owned()
        };
        if text == "boot" {
            let unknown = || "the time of boot is unknown: /proc/stat has no btime".to_owned();
            return boot.map(Self).ok_or_else(unknown);
        }
        let time = if let Some(seconds) = text.strip_prefix('@') {
            seconds
                .parse()
                .ok()
                .map(Duration::from_secs)
                .and_then(|since| UNIX_EPOCH.checked_add(since))
        } else if let Ok(ago) = humantime::parse_duration(text) {
            now.checked_sub(ago)
        } else {
            humantime::parse_rfc3339_weak(text).ok()
        };
        time.map(Self).ok_or_else(wrong)
    }
}

/// When the kernel booted, to the second.
pub(crate) fn boot() -> Option<SystemTime> {
    // It changes when the clock is set.
    static BOOT: OnceLock<Option<SystemTime>> = OnceLock::new();
    *BOOT.get_or_init(read_boot)
}

fn read_boot() -> Option<SystemTime> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let now = at(1_795_342_738);
        let read = |text: &str| Since::at(text, now, Some(at(5)));
        for (text, time) in [
            ("2026-11-22T10:18:58Z", now),
            ("2026-11-22 10:18:58", now),
            ("10m", at(1_795_342_138)),
            ("1h 5s", at(1_795_339_133)),
            ("boot", at(5)),
            ("@1795342738", now),
        ] {
            assert_eq!(read(text), Ok(Since(time)), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "@",
            "@-1",
            "10",
            "2026-13-01T00:00:00Z",
            "@99999999999999999999",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(Since::at("boot", now, None).is_err());
        assert!(boot().unwrap() < SystemTime::now());
    }
}

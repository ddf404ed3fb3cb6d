//! The denials that `metrics` has counted since boot, in `/run/oci-apparmor/denials`.
//!
//! The log forgets, so what a run has counted is kept. The number of the last event that was counted
//! says where the next run goes on: within one boot, the kernel numbers audit events upwards.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::log::{Gaps, boot, time_of};
use crate::statistics::denial_totals::{DenialKind, DenialTotals};
use crate::statistics::log_reader::{self, LogRead};
use oci_apparmor::error::{Error, Result};
use oci_apparmor::fs::{own, run};
use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::header::Stamp;

/// The version of the format.
const VERSION: u32 = 1;

/// More than the file can have: the number of kinds is bounded, and names are too.
const MAX: u64 = 16 << 20;

/// How much of the log before the last event is read again: the clock may have been set back a bit.
const OVERLAP: Duration = Duration::from_secs(60);

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct DenialFile {
    version: u32,
    /// The last event that was counted.
    last: Option<LastEvent>,
    /// When the log was last read, in seconds since 1970.
    read: u64,
    denials: Vec<CountedDenial>,
}

/// By its number first: the clock may be set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct LastEvent {
    serial: u64,
    seconds: u64,
    milliseconds: u16,
}

#[derive(Debug, Serialize, Deserialize)]
struct CountedDenial {
    #[serde(flatten)]
    kind: DenialKind,
    count: u64,
}

/// The denials since boot, and how much of the log could be seen.
#[derive(Debug, Default)]
pub(crate) struct CountedDenials {
    pub(crate) totals: DenialTotals,
    /// What is missing in what was read now; `None` if no log could be read.
    pub(crate) gaps: Option<Gaps>,
    /// Whether the log has everything since the last run, or since boot for the first one.
    pub(crate) is_complete: bool,
}

impl CountedDenials {
    /// Reads what is new in the log, and adds it to what was counted before. `is_known`: whether this
    /// node has a profile of that name for containers.
    ///
    /// # Errors
    /// If the counts cannot be kept. That the log cannot be read is part of the result.
    pub(crate) fn update(is_known: impl Fn(&str) -> bool) -> Result<Self> {
        let base = run::path()?;
        let path = base.join("denials");
        own::directory(&base, 0o700)?;
        let _lock = lock(&base)?;
        let before = DenialFile::read(&path);
        let mut last = before.last;
        let counted = before.denials.into_iter().map(|d| (d.kind, d.count));
        let mut totals = DenialTotals::with(counted);
        let since = before.last.and_then(LastEvent::time).or_else(boot);
        // When the last run was, rather than its last event: nothing need have happened since.
        let complete_since = match before.read {
            0 => boot(),
            seconds => SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)),
        };
        let now = SystemTime::now();
        let read = log_reader::read(since, &mut |event| {
            if before.last.is_none_or(|last| last.is_before(event)) {
                totals.add(event, &is_known);
                // Sources are not quite in order.
                let stamp = event.stamp.map(LastEvent::of);
                last = last.max(stamp);
            }
        });
        let (gaps, is_complete) = match read {
            Ok(LogRead { coverage, gaps }) => {
                (Some(gaps), coverage.is_complete_since(complete_since, None))
            }
            Err(e) => {
                ::log::warn!("the log cannot be read: {e}");
                (None, false)
            }
        };
        let file = DenialFile {
            version: VERSION,
            last,
            read: match gaps {
                Some(_) => now
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs()),
                None => before.read,
            },
            denials: totals
                .iter()
                .map(|(kind, count)| CountedDenial {
                    kind: kind.clone(),
                    count,
                })
                .collect(),
        };
        file.write(&path)?;
        Ok(Self {
            totals,
            gaps,
            is_complete,
        })
    }
}

impl DenialFile {
    /// A file that is missing, or of another version, counts as empty.
    fn read(path: &Path) -> Self {
        let bytes = run::read(path, MAX);
        let file = bytes.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        file.filter(|file| file.version == VERSION)
            .unwrap_or_default()
    }

    fn write(&self, path: &Path) -> Result<()> {
        let bytes = serde_json::to_vec(self).map_err(|e| {
            let kind = oci_apparmor::error::Kind::Internal;
            Error::new(kind, format!("cannot write {}: {e}", path.display()))
        })?;
        run::replace(path, &bytes)
    }
}

impl LastEvent {
    fn of(stamp: Stamp) -> Self {
        Self {
            seconds: stamp.seconds,
            milliseconds: stamp.milliseconds,
            serial: stamp.serial,
        }
    }

    /// Whether an event was logged after this one.
    fn is_before(self, event: &Event) -> bool {
        event.stamp.is_some_and(|stamp| stamp.serial > self.serial)
    }

    /// Since when the log is read.
    fn time(self) -> Option<SystemTime> {
        let time = time_of(&Stamp {
            seconds: self.seconds,
            milliseconds: self.milliseconds,
            serial: self.serial,
        });
        time?.checked_sub(OVERLAP)
    }
}

/// Two runs at once must not count the same events, one after the other.
fn lock(directory: &Path) -> Result<File> {
    let opened = File::open(directory).map_err(|e| Error::io("open", directory, &e))?;
    let locked = opened.lock();
    locked.map_err(|e| Error::io("lock", directory, &e))?;
    Ok(opened)
}

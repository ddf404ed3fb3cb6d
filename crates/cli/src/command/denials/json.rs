//! What `--json` prints: one object for each event, and one for the end.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use crate::log::{Attribution, Gaps, KnownBy, Owner, time_of};
use oci_apparmor_audit::event::Event;
use oci_apparmor_audit::text::OutsideText;

/// An event.
#[derive(Debug, Serialize)]
pub(super) struct EventJson<'e> {
    kind: &'static str,
    time: Option<String>,
    serial: Option<u64>,
    verdict: &'static str,
    profile: Option<String>,
    operation: Option<String>,
    object: String,
    denied: Option<String>,
    info: Option<String>,
    error: Option<i32>,
    pid: Option<u32>,
    comm: Option<String>,
    container: Option<&'e Owner>,
    known_by: Option<KnownBy>,
    candidates: Vec<&'e Owner>,
    fields: BTreeMap<&'static str, String>,
}

impl<'e> EventJson<'e> {
    pub(super) fn of(event: &Event, attribution: &'e Attribution) -> Self {
        let shown = |text: Option<&OutsideText>| text.map(OutsideText::to_string);
        let fields = &event.fields;
        let (container, known_by, candidates) = match attribution {
            Attribution::Container(owner, by) => (Some(&**owner), Some(*by), Vec::new()),
            Attribution::Candidates(owners) => {
                (None, None, owners.iter().map(|owner| &**owner).collect())
            }
            Attribution::Host => (None, Some(KnownBy::Process), Vec::new()),
            Attribution::Unknown => (None, None, Vec::new()),
        };
        Self {
            kind: "event",
            time: event.stamp.as_ref().and_then(time_of).and_then(rfc3339),
            serial: event.stamp.map(|stamp| stamp.serial),
            verdict: event.verdict.as_str(),
            profile: shown(event.profile()),
            operation: shown(fields.operation.as_ref()),
            object: event.object(),
            denied: shown(event.denied()),
            info: shown(fields.info.as_ref()),
            error: fields.error,
            pid: fields.pid,
            comm: shown(fields.comm.as_ref()),
            container,
            known_by,
            candidates,
            fields: fields.texts().into_iter().collect(),
        }
    }
}

/// The end: what was read, and what is missing.
#[derive(Debug, Serialize)]
pub(super) struct EndJson {
    pub(super) kind: &'static str,
    pub(super) events: u64,
    pub(super) unattributed: u64,
    pub(super) sources: Vec<String>,
    pub(super) since: Option<String>,
    pub(super) complete_since: Option<String>,
    pub(super) complete: bool,
    pub(super) gaps: Gaps,
    pub(super) advice: Vec<String>,
}

/// A time as other programs read it, in milliseconds; `None` if it is not in the next thousands of
/// years.
pub(super) fn rfc3339(time: SystemTime) -> Option<String> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    // The year 9999; formatting a later time fails.
    let is_sane = since.as_secs() < 253_402_300_800;
    is_sane.then(|| humantime::format_rfc3339_millis(time).to_string())
}

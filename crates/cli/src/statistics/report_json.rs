//! What `report --json` prints.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::checks::finding::Finding;
use crate::checks::wiring::EngineWiring;
use crate::statistics::assessment::Assessment;
use crate::statistics::containers::{ContainerJson, ManagedContainer};
use crate::statistics::denial_totals::DenialKind;
use crate::statistics::node_facts::{NodeFacts, rfc3339};
use crate::statistics::node_report::NodeReport;
use crate::statistics::profiles::{ProfileJson, ProfileStatus};

/// The whole report.
#[derive(Debug, Serialize)]
pub(crate) struct ReportJson<'r> {
    time: String,
    assessment: &'r Assessment,
    node: &'r NodeFacts,
    engines: &'r [EngineWiring],
    containers: Vec<ContainerJson<'r>>,
    profiles: Vec<ProfileJson<'r>>,
    denials: DenialsJson<'r>,
    counters: BTreeMap<&'static str, u64>,
    checks: &'r [Finding],
}

/// What AppArmor denied since boot.
#[derive(Debug, Serialize)]
struct DenialsJson<'r> {
    sources: &'r [String],
    complete_since: Option<String>,
    gaps: Vec<String>,
    kinds: Vec<DenialKindJson<'r>>,
}

/// One profile, operation and verdict.
#[derive(Debug, Serialize)]
struct DenialKindJson<'r> {
    #[serde(flatten)]
    kind: &'r DenialKind,
    count: u64,
}

impl<'r> ReportJson<'r> {
    pub(crate) fn of(report: &'r NodeReport, assessment: &'r Assessment) -> Self {
        let log = &report.log;
        let counters = report.counters.iter();
        Self {
            time: rfc3339(report.time),
            assessment,
            node: &report.facts,
            engines: &report.engines,
            containers: report
                .containers
                .iter()
                .map(ManagedContainer::shown)
                .collect(),
            profiles: report.profiles.iter().map(ProfileStatus::shown).collect(),
            denials: DenialsJson {
                sources: &log.sources,
                complete_since: log.complete_since.map(rfc3339),
                gaps: log.gaps().collect(),
                kinds: log
                    .totals
                    .iter()
                    .map(|(kind, count)| DenialKindJson { kind, count })
                    .collect(),
            },
            counters: counters
                .map(|(event, count)| (event.file_name(), *count))
                .collect(),
            checks: &report.findings,
        }
    }
}

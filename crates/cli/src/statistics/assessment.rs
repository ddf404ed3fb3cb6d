//! What is to be made of a node: whether its containers run under their profiles, and what needs
//! attention.

use serde::Serialize;

use crate::checks::finding::{Finding, Status};
use crate::statistics::containers::ManagedContainer;
use crate::statistics::node_report::NodeReport;
use crate::statistics::profiles::ProfileStatus;
use oci_apparmor::error::Kind;

/// A conclusion about a node.
#[derive(Debug, Serialize)]
pub(crate) struct Assessment {
    /// The worst of the concerns.
    pub(crate) status: Status,
    /// One sentence.
    pub(crate) summary: String,
    /// What needs attention, failures first.
    pub(crate) concerns: Vec<Concern>,
    /// The exit code: as that of `ps`, and otherwise as that of `check`.
    #[serde(skip)]
    pub(crate) exit_code: u8,
}

/// One thing that needs attention.
#[derive(Debug, Serialize)]
pub(crate) struct Concern {
    pub(crate) status: Status,
    pub(crate) text: String,
    pub(crate) remedy: Option<String>,
}

impl Assessment {
    pub(crate) fn of(report: &NodeReport) -> Self {
        let mut concerns: Vec<Concern> = report.containers.iter().filter_map(violation).collect();
        let found = report.findings.iter().filter(|f| f.status != Status::Ok);
        concerns.extend(found.map(Concern::of));
        concerns.extend(report.profiles.iter().filter_map(difference));
        concerns.extend(report.profiles.iter().filter_map(complains));
        concerns.extend(report.log.gaps().map(|text| Concern {
            status: Status::Warning,
            text,
            remedy: None,
        }));
        concerns.sort_by_key(|concern| concern.status != Status::Failure);
        let violations: usize = report
            .containers
            .iter()
            .map(|c| c.unconfined().count())
            .sum();
        let is_enforcing = report.facts.enforcing;
        let failure = report.findings.iter().find(|f| f.status == Status::Failure);
        let status = match concerns.first() {
            None => Status::Ok,
            Some(concern) => concern.status,
        };
        Self {
            exit_code: match (is_enforcing, violations, failure) {
                (false, ..) => Kind::KernelOff.exit_code(),
                (true, 1.., _) => Kind::Policy.exit_code(),
                (true, 0, Some(finding)) => finding.kind.exit_code(),
                (true, 0, None) => 0,
            },
            summary: summary(report, status, violations, concerns.len()),
            status,
            concerns,
        }
    }
}

impl Concern {
    fn of(finding: &Finding) -> Self {
        Self {
            status: finding.status,
            text: finding.text.clone(),
            remedy: finding.remedy.clone(),
        }
    }
}

fn summary(report: &NodeReport, status: Status, violations: usize, concerns: usize) -> String {
    let running = report.containers.iter().filter(|c| !c.processes.is_empty());
    let confined = match running.count() {
        0 => "No container runs under a profile now".to_owned(),
        1 => "1 container runs, under its label".to_owned(),
        n => format!("{n} containers run, each under its label"),
    };
    match (report.facts.enforcing, status) {
        (false, _) => "AppArmor does not enforce profiles on this node.".to_owned(),
        (true, _) if violations == 1 => {
            "1 process runs without the label of its container.".to_owned()
        }
        (true, _) if violations > 1 => {
            format!("{violations} processes run without the label of their container.")
        }
        (true, Status::Ok) => format!("{confined}; nothing needs attention."),
        (true, _) if concerns == 1 => format!("{confined}; 1 thing needs attention."),
        (true, _) => format!("{confined}; {concerns} things need attention."),
    }
}

/// A container of which a process runs without its label.
fn violation(container: &ManagedContainer) -> Option<Concern> {
    let first = container.unconfined().next()?;
    let count = container.unconfined().count();
    let id = container.short_id();
    let pod = container
        .pod()
        .map_or_else(String::new, |pod| format!(" ({pod})"));
    Some(Concern {
        status: Status::Failure,
        text: format!(
            "container {id}{pod}: {count} of {} processes run without its label; process {} ({}) runs as {}",
            container.processes.len(),
            first.pid,
            first.comm,
            first.label,
        ),
        remedy: Some(format!("restart the container {id}")),
    })
}

/// A loaded profile that is not as its source says.
fn difference(profile: &ProfileStatus) -> Option<Concern> {
    let (drift, why) = profile.drift();
    let drift = drift.filter(|drift| *drift != "not loaded")?;
    let name = profile.name.as_ref()?;
    let text = match why {
        Some(why) => format!("the profile {name} differs from its source ({drift}): {why}"),
        None => format!("the profile {name} differs from its source ({drift})"),
    };
    let text = match drift {
        "unknown" => format!(
            "the profile {name} cannot be compared with its source: {}",
            why.unwrap_or_default()
        ),
        _ => text,
    };
    Some(Concern {
        status: Status::Warning,
        text,
        remedy: (drift != "unknown").then(|| format!("run: oci-apparmor load {name}")),
    })
}

/// A profile in use that refuses nothing.
fn complains(profile: &ProfileStatus) -> Option<Concern> {
    let mode = profile.loaded.as_ref()?.mode;
    let name = profile.name.as_ref()?;
    if mode.enforces() || profile.containers.is_empty() {
        return None;
    }
    let users = match profile.containers.len() {
        1 => "1 container has".to_owned(),
        n => format!("{n} containers have"),
    };
    Some(Concern {
        status: Status::Warning,
        text: format!("the profile {name}, which {users}, is in {mode} mode: it refuses nothing"),
        remedy: Some(format!("run: oci-apparmor mode {name} enforce")),
    })
}

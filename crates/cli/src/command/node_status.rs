//! `node status`: what the cluster is told about this node.

use std::time::SystemTime;

use clap::Args;
use oci_apparmor_node_status::{
    ConditionStatus, DenialCounts, EngineCalls, KernelStatus, NodeStatus, ProfileState,
};

use crate::report::output::Output;
use crate::report::table::{Cell, Fit, Row, Table, Tone};
use crate::statistics::node_status::{StatusFile, gather};
use oci_apparmor::error::{Error, Kind, Result};

/// Show what the cluster is told about this node
///
/// The same is in the status of the NodeAppArmor object that has the name of the node, if the agent
/// runs there: whether the node is ready, its kernel and its engines, the profiles with those that
/// need attention first, the containers by the labels of their processes, and what AppArmor denied
/// in the last hour.
///
/// Ready is True if the kernel enforces profiles and the engine of the kubelet calls the wrapper.
/// ProfilesAccepted is False if a profile is refused. Of the log, at most 100000 events are read, for
/// at most 10 s.
///
/// With --write, the agent is told: it reads /var/lib/oci-apparmor/status/node.json. What is told is
/// in the output, not in the exit code.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 the node was looked at, whatever was found.

Examples:
  oci-apparmor node status
  # Why is the node not ready?
  oci-apparmor node status --json | jq '.conditions'
  # Every minute, for the agent.
  systemctl enable --now oci-apparmor-node-status.timer")]
pub(crate) struct NodeStatusArguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Write it into the file that the agent reads, and print it only with --json
    #[arg(long)]
    write: bool,
}

pub(crate) fn run(arguments: &NodeStatusArguments, output: Output) -> Result<u8> {
    if !nix::unistd::geteuid().is_root() {
        let why = "only root can read what the status of a node is made of";
        return Err(
            Error::new(Kind::Policy, why).with_remedy("run as root: oci-apparmor node status")
        );
    }
    let status = gather();
    let status = match arguments.write {
        true => StatusFile::update(status)?,
        false => StatusFile::read().complete(status, SystemTime::now()),
    };
    match (arguments.json, arguments.write) {
        (true, _) => output.json(&status)?,
        (false, true) => {}
        (false, false) => print(&status, output)?,
    }
    Ok(0)
}

fn print(status: &NodeStatus, output: Output) -> Result<()> {
    output.table(&conditions(status))?;
    output.line("")?;
    output.table(&facts(status))?;
    if let Some(denials) = status.denials.as_ref().filter(|d| d.total > 0) {
        output.line("\nDenials in the last hour")?;
        output.table(&by_profile(denials))?;
    }
    output.line("\nProfiles")?;
    match status.profiles.is_empty() {
        true => output.line("none"),
        false => output.table(&profiles(status)),
    }
}

fn conditions(status: &NodeStatus) -> Table {
    let mut table = Table::new(&[
        ("CONDITION", Fit::Whole),
        ("STATUS", Fit::Whole),
        ("SINCE", Fit::Whole),
        ("MESSAGE", Fit::Wrap),
    ]);
    for condition in &status.conditions {
        let (word, tone) = match condition.status {
            ConditionStatus::True => ("True", Tone::Good),
            ConditionStatus::False => ("False", Tone::Bad),
            ConditionStatus::Unknown => ("Unknown", Tone::Warning),
        };
        table.push(Row::new([
            Cell::from(&condition.kind),
            Cell::new(word, tone),
            Cell::from(&condition.last_transition_time),
            Cell::or_dash(condition.message.as_ref()),
        ]));
    }
    table
}

fn facts(status: &NodeStatus) -> Table {
    let mut table = Table::new(&[("", Fit::Whole), ("", Fit::Wrap)]);
    let mut add = |name: &str, value: Option<String>| {
        table.push(Row::new([Cell::from(name), Cell::or_dash(value)]));
    };
    let kernel = status.kernel.as_ref();
    add("kernel", kernel.map(kernel_line));
    add("parser", kernel.and_then(|kernel| kernel.parser.clone()));
    add("oci-apparmor", status.versions.wrapper.clone());
    for engine in &status.engines {
        let calls = match engine.calls {
            EngineCalls::All => "calls the wrapper for all containers",
            EngineCalls::Named => "calls the wrapper for containers that name its runtime",
            EngineCalls::Hook => "calls only the hook",
            EngineCalls::None => "does not call the wrapper",
            EngineCalls::Unknown => "may call the wrapper",
        };
        let calls = engine.reason.clone().unwrap_or_else(|| calls.to_owned());
        add(&engine.name, Some(calls));
    }
    let containers = status.containers.map(|c| {
        let (confined, wrong, unconfined) = (c.confined, c.wrong, c.unconfined);
        format!("{confined} confined, {wrong} with a wrong label, {unconfined} without a profile")
    });
    add("containers", containers);
    let denials = match &status.denials {
        Some(d) => format!("{} in the last hour, {} records lost", d.total, d.lost),
        None => "unknown: no log can be read".to_owned(),
    };
    add("denials", Some(denials));
    let counts = status.profile_counts;
    let counts = format!(
        "{} loaded, {} not loaded, {} refused, {} differ, {} disabled",
        counts.loaded, counts.ready, counts.refused, counts.drift, counts.disabled
    );
    add("profiles", Some(counts));
    table
}

fn kernel_line(kernel: &KernelStatus) -> String {
    let release = kernel.release.as_deref().unwrap_or("unknown");
    match (kernel.enforcing, &kernel.reason) {
        (true, _) => format!("{release}, enforces profiles"),
        (false, Some(why)) => format!("{release}, enforces no profile: {why}"),
        (false, None) => format!("{release}, enforces no profile"),
    }
}

fn by_profile(denials: &DenialCounts) -> Table {
    let mut table = Table::new(&[("PROFILE", Fit::Wrap), ("COUNT", Fit::Whole)]);
    for of in &denials.by_profile {
        let count = of.count.to_string();
        table.push(Row::new([Cell::from(&of.profile), Cell::from(count)]));
    }
    table
}

fn profiles(status: &NodeStatus) -> Table {
    let mut table = Table::new(&[
        ("PROFILE", Fit::Wrap),
        ("STATE", Fit::Whole),
        ("REASON", Fit::Wrap),
    ]);
    for profile in &status.profiles {
        let (word, tone) = match profile.state {
            ProfileState::Loaded => ("Loaded", Tone::Good),
            ProfileState::Ready => ("Ready", Tone::Plain),
            ProfileState::Disabled => ("Disabled", Tone::Warning),
            ProfileState::Drift => ("Drift", Tone::Warning),
            ProfileState::Refused => ("Refused", Tone::Bad),
        };
        table.push(Row::new([
            Cell::from(&profile.name),
            Cell::new(word, tone),
            Cell::from(profile.reason.clone().unwrap_or_default()),
        ]));
    }
    table
}

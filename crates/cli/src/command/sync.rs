//! `sync`: takes the profiles that come from a cluster.

use clap::Args;

use crate::cluster::{self, SyncState, SyncStatus, SyncedProfile};
use crate::command::load::may_load;
use crate::report::output::Output;
use crate::report::progress::Progress;
use crate::report::table::{Cell, Fit, Row, Table, Tone};
use crate::statistics::node_status::{self, StatusFile};
use oci_apparmor::error::Result;
use oci_apparmor::node::Node;
use oci_apparmor::profiles::Store;

/// Take the profiles that come from a Kubernetes cluster
///
/// Reads the spool, a directory into which the agent of the cluster writes one file for each profile,
/// makes sources of those that this node accepts, and loads what is new or has changed. The section
/// [cluster] of config.toml says which names are accepted, how many, and how large.
///
/// A file is refused, and does not stop the others, if it is not a regular file of the spool's owner;
/// if the node or an engine has a profile of that name; if its text does not compile within the
/// limits, does not enforce, declares another profile than that of its name and its children, or
/// attaches to programs; or if it includes anything else than abstractions, tunables and abis.
/// The source that was accepted before then stays.
///
/// A profile that is gone from the cluster loses its source, if the spool is complete. It stays in the
/// kernel, because processes may run under it.
///
/// The result is in /var/lib/oci-apparmor/status/status.json. The profiles in node.json beside it,
/// which the agent reads, are brought up to date too, if node status has written that file.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 the spool was read, and all accepted profiles are as their sources say; refused files \
are reported, and are no failure. Otherwise the code of the first failure.

Examples:
  oci-apparmor sync
  # Whenever the spool changes.
  systemctl enable --now oci-apparmor-sync.path")]
pub(crate) struct SyncArguments {
    /// Print one JSON object, as in the status file
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &SyncArguments, output: Output) -> Result<u8> {
    may_load()?;
    let node = Node::load()?;
    if let Some(off) = Store::new(&node).unavailable() {
        return Err(off);
    }
    let status = cluster::synchronise(&node)?;
    let profiles = || node_status::profiles(&node, Some(&status), &Progress::new());
    if let Err(e) = StatusFile::update_profiles(profiles) {
        log::warn!("{e}");
    }
    match arguments.json {
        true => output.json(&status)?,
        false => {
            output.table(&table(&status))?;
            output.line(summary(&status))?;
            if let Some(why) = &status.refused {
                output.note(format!("the spool was not used: {why}"));
            }
        }
    }
    Ok(status.failure.unwrap_or(0))
}

fn table(status: &SyncStatus) -> Table {
    let mut table = Table::new(&[
        ("PROFILE", Fit::Wrap),
        ("STATE", Fit::Whole),
        ("REASON", Fit::Wrap),
    ]);
    for SyncedProfile {
        name,
        state,
        reason,
    } in &status.profiles
    {
        let tone = match state {
            SyncState::Loaded => Tone::Good,
            SyncState::Disabled | SyncState::Drift => Tone::Warning,
            SyncState::Ready | SyncState::Refused => Tone::Bad,
        };
        table.push(Row::new([
            Cell::from(name),
            Cell::new(state.word(), tone),
            Cell::from(reason.clone().unwrap_or_default()),
        ]));
    }
    for name in &status.removed {
        table.push(Row::new([
            Cell::from(name),
            Cell::new("removed", Tone::Warning),
            Cell::from("its source is removed; a loaded profile stays".to_owned()),
        ]));
    }
    table
}

fn summary(status: &SyncStatus) -> String {
    let count = |state| status.profiles.iter().filter(|p| p.state == state).count();
    let loaded = count(SyncState::Loaded);
    let refused = count(SyncState::Refused);
    let removed = status.removed.len();
    let mut line = format!("{loaded} loaded, {refused} refused, {removed} removed");
    if status.rejected > 0 {
        line.push_str(&format!(", {} other files ignored", status.rejected));
    }
    if !status.complete {
        line.push_str("; the spool is not complete, so profiles that it lacks keep their sources");
    }
    line
}

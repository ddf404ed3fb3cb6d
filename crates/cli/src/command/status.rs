//! `status`: the profiles of this node, what the kernel has of each, and what uses it.

use clap::Args;

use crate::report::output::Output;
use crate::report::progress::Progress;
use crate::report::table::{Cell, Fit, Row, Table, Tone};
use crate::report::users::Users;
use crate::statistics::profiles::{ProfileSearch, ProfileStatus};
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::error::Result;
use oci_apparmor::node::Node;
use oci_apparmor::profiles::Store;

/// List profiles: source, mode, differences from the source, and users
///
/// Lists the profiles that have a source in one of the profile_directories, that the configuration
/// names, or that containers need. Of the sources in /etc/apparmor.d itself, only those are listed
/// that the configuration or a container names.
///
/// DRIFT says how the kernel differs from the source: not loaded; mode (whatever the content is);
/// content; children (the kernel has children that the source does not declare, and that allow
/// something); or unknown, with the reason below the row. Only sources in the first of the
/// profile_directories are compared, with everything they include, and only root can compare them.
///
/// USED BY names the containers that were made through the wrapper with the profile, and counts the
/// processes that run under it, in stacks and under its children too. Containers that run without
/// the profile, because it was removed while they ran, are named below the row; restart them.
///
/// Nothing is loaded or changed, but policy that is compiled for the comparison stays in the cache.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oci-apparmor status
  # One profile.
  oci-apparmor status web
  # The profiles that differ from their sources.
  oci-apparmor status --json | jq '.[] | select(.drift)'")]
pub(crate) struct StatusArguments {
    /// Only these profiles
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Also list everything else that the kernel holds
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &StatusArguments, output: Output) -> Result<u8> {
    let node = Node::load()?;
    let store = Store::new(&node);
    let users = Users::look(store.kernel());
    let progress = Progress::new();
    let look = ProfileSearch {
        store: &store,
        settings: &node.settings,
        users: &users,
    };
    let profiles = match arguments.names.as_slice() {
        [] => look.everything(arguments.all, &progress)?,
        names => {
            let names: Result<Vec<_>> = names.iter().map(|n| ProfileName::parse(n)).collect();
            let names = names?.into_iter().map(|name| name.root());
            look.all(&Vec::from_iter(names), &progress)?
        }
    };
    drop(progress);
    match arguments.json {
        true => output.json(&Vec::from_iter(profiles.iter().map(ProfileStatus::shown)))?,
        false => output.table(&table(&profiles, output))?,
    }
    Ok(0)
}

fn table(profiles: &[ProfileStatus], output: Output) -> Table {
    let mut table = Table::new(&[
        ("PROFILE", Fit::Wrap),
        ("MODE", Fit::Whole),
        ("DRIFT", Fit::Whole),
        ("SOURCE", Fit::CutStart),
        ("USED BY", Fit::Wrap),
    ]);
    for profile in profiles {
        table.push(row(profile, output));
    }
    table
}

fn used_by(profile: &ProfileStatus, output: Output) -> String {
    let shown = match output.is_terminal() {
        true => 3,
        false => usize::MAX,
    };
    let ids = profile.containers.iter().take(shown);
    let mut users: Vec<String> = ids.map(|id| output.id(id).to_owned()).collect();
    match profile.containers.len().saturating_sub(shown) {
        0 => {}
        more => users.push(format!("{more} more")),
    }
    match profile.processes {
        0 => {}
        1 => users.push("1 process".to_owned()),
        n => users.push(format!("{n} processes")),
    }
    users.join(", ")
}

fn row(profile: &ProfileStatus, output: Output) -> Row {
    let source = profile.path.as_ref().map(|path| {
        let path = path.display();
        match &profile.source {
            Some(source) if source.disabled.is_some() => format!("{path} (disabled)"),
            Some(source) if source.complain => format!("{path} (force-complain)"),
            _ => path.to_string(),
        }
    });
    let (drift, why) = profile.drift();
    let mut row = Row::new([
        Cell::or_dash(profile.name.as_deref()),
        match &profile.loaded {
            Some(loaded) if loaded.mode.enforces() => {
                Cell::new(loaded.mode.to_string(), Tone::Good)
            }
            Some(loaded) => Cell::new(loaded.mode.to_string(), Tone::Warning),
            None => Cell::from("-"),
        },
        drift.map_or_else(|| Cell::from("-"), |word| Cell::new(word, Tone::Warning)),
        Cell::or_dash(source),
        Cell::from(used_by(profile, output)),
    ]);
    if let Some(why) = why {
        row.note(why);
    }
    for id in &profile.lost {
        row.warning(format!(
            "container {id} runs without it, because it was removed meanwhile; restart the \
             container"
        ));
    }
    row
}

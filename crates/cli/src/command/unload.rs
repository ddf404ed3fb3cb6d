//! `unload NAME`: the only command that removes a profile from the kernel.

use clap::Args;

use crate::report::output::Output;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::containers::in_use::{self, UsedBy};
use oci_apparmor::error::{Error, Kind, Result, foreign, quoted};
use oci_apparmor::node::Node;
use oci_apparmor::profiles::Store;
use oci_apparmor::settings::Settings;

/// How many of the users of a profile are named.
const NAMED: usize = 5;

/// Remove a profile from the kernel, unless anything uses it
///
/// Removes the profile NAME and its children. It is refused, with the names of those concerned,
/// while a process runs under the profile or a child of it, alone or in a stack, while a container
/// that was made through the wrapper waits for its start, and while one is being made: every process
/// under a profile that is removed becomes unconfined for good.
///
/// Containers that were made without the wrapper (by hooks alone, or by another user's wrapper) are
/// only seen once they run.
///
/// This is the only command that removes a profile.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 5 the profile is in use.

Examples:
  oci-apparmor unload web")]
pub(crate) struct UnloadArguments {
    /// The name of the profile
    name: String,
}

pub(crate) fn run(arguments: &UnloadArguments, output: Output) -> Result<u8> {
    let name = ProfileName::parse(&arguments.name)?;
    // What is loaded does not depend on the configuration, so a broken one does not matter.
    let node = Node::with(Settings::load().unwrap_or_default());
    Store::new(&node).unload(&name, || unused(&name))?;
    output.line(format!("{name} is unloaded"))?;
    Ok(0)
}

/// Refuses a profile that is in use.
fn unused(name: &ProfileName) -> Result<()> {
    let users = in_use::by(name)?;
    if users.is_empty() {
        return Ok(());
    }
    let mut named: Vec<String> = users.iter().take(NAMED).map(described).collect();
    if let Some(more) = users.len().checked_sub(NAMED).filter(|more| *more > 0) {
        named.push(format!("{more} more"));
    }
    Err(Error::new(
        Kind::Policy,
        format!(
            "the profile {name} is in use, and these would become unconfined: {}",
            named.join(", ")
        ),
    )
    .with_remedy(format!("stop them, then run: oci-apparmor unload {name}")))
}

fn described(user: &UsedBy) -> String {
    match user {
        UsedBy::Process { pid, comm, label } => {
            format!("process {pid} ({}) as {}", foreign(comm), quoted(label))
        }
        UsedBy::Container { id, status } => format!("container {id} ({})", status.as_str()),
    }
}

//! `unload NAME`: the only way in which this program removes a profile from the kernel.

use crate::print;
use oci_apparmor::apparmor::name::ProfileName;
use oci_apparmor::containers::in_use::{self, UsedBy};
use oci_apparmor::error::{Error, Kind, Result, foreign, quoted};
use oci_apparmor::node::Node;
use oci_apparmor::profiles::Store;
use oci_apparmor::settings::Settings;

/// How many of those who rely on a profile are named.
const NAMED: usize = 5;

pub(crate) fn run(name: &str) -> Result<u8> {
    let name = ProfileName::parse(name)?;
    // A configuration that cannot be read changes nothing about what is loaded.
    let node = Node::with(Settings::load().unwrap_or_default());
    Store::new(&node).unload(&name, || nobody_carries(&name))?;
    print(&format!("{name} is unloaded\n"))?;
    Ok(0)
}

fn nobody_carries(name: &ProfileName) -> Result<()> {
    let carriers = in_use::by(name)?;
    if carriers.is_empty() {
        return Ok(());
    }
    let mut named: Vec<String> = carriers.iter().take(NAMED).map(described).collect();
    if let Some(more) = carriers.len().checked_sub(NAMED).filter(|more| *more > 0) {
        named.push(format!("{more} more"));
    }
    Err(Error::new(
        Kind::Policy,
        format!(
            "the profile {name} is in use, and who runs under it would turn unconfined: {}",
            named.join(", ")
        ),
    )
    .with_remedy("stop them first"))
}

fn described(carrier: &UsedBy) -> String {
    match carrier {
        UsedBy::Process { pid, comm, label } => {
            format!("process {pid} ({}) as {}", foreign(comm), quoted(label))
        }
        UsedBy::Container { id, status } => format!("container {id} ({})", status.as_str()),
    }
}

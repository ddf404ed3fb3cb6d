//! `gc`: removes what nobody needs any more. It never unloads a profile.

use serde_json::json;

use crate::print;
use oci_apparmor::containers::status::ContainerStatus;
use oci_apparmor::containers::{pods, records};
use oci_apparmor::error::Result;
use oci_apparmor::node::Node;
use oci_apparmor::profiles::Store;

pub(crate) fn run(as_json: bool) -> Result<u8> {
    let node = Node::load()?;
    let before = records::all()?;
    let records = records::tidy(|record| ContainerStatus::of(record) == ContainerStatus::Gone)?;
    let pods = pods::tidy(&before)?;
    let tidied = Store::new(&node).gc()?;
    let text = if as_json {
        let value = json!({
            "records": records,
            "pods": pods,
            "locks": tidied.locks,
            "remembered": tidied.remembered,
            "temporary": tidied.temporary,
            "cached": tidied.cached,
            "cached_bytes": tidied.cached_bytes,
        });
        format!("{value:#}\n")
    } else {
        format!(
            "removed: {records} record(s) of containers that are gone, {pods} pod(s), {} lock(s), {} remembered \
             profile(s), {} temporary file(s), {} compiled profile(s) of {} KiB\n",
            tidied.locks,
            tidied.remembered,
            tidied.temporary,
            tidied.cached,
            tidied.cached_bytes / 1024
        )
    };
    print(&text)?;
    Ok(0)
}

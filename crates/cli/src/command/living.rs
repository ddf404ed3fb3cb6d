//! `living`: prints the containers that still need the wrapper, for `install.sh`.

use crate::engine::live_containers;
use crate::print;
use oci_apparmor::error::Result;

pub(crate) fn run() -> Result<u8> {
    let all = live_containers::all()?;
    let all: Vec<String> = all.iter().map(|(_, container)| container.shown()).collect();
    if !all.is_empty() {
        print(&format!("{}\n", all.join(" ")))?;
    }
    Ok(0)
}

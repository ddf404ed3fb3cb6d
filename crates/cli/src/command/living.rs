//! `living`: prints the containers that still need the wrapper, for `install.sh`.

use std::path::Path;

use crate::engine::live_containers;
use crate::engine::root::NodeRoot;
use crate::report::output::Output;
use oci_apparmor::error::Result;

/// Print the containers that need the wrapper until they are deleted; for install.sh
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(crate) struct LivingArguments {}

pub(crate) fn run(output: Output) -> Result<u8> {
    let all = live_containers::all(&NodeRoot::new(Path::new("/"))?)?;
    let all: Vec<String> = all.iter().map(|(_, container)| container.shown()).collect();
    if !all.is_empty() {
        output.line(all.join(" "))?;
    }
    Ok(0)
}

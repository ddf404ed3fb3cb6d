//! `restore-at-end`: the child that a guard is ([`crate::guard`]).

use crate::guard::{self, Restore};
use oci_apparmor::error::Result;

/// Put something back when the process that started this one ends; for oci-apparmor itself
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(crate) struct RestoreAtEndArguments {
    /// What to put back
    #[arg(required = true)]
    what: Vec<String>,
}

pub(crate) fn run(arguments: &RestoreAtEndArguments) -> Result<u8> {
    guard::serve(&Restore::parse(&arguments.what)?)
}

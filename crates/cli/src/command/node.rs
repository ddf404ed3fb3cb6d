//! `node`: this machine as a node of a cluster.

use clap::{Args, Subcommand};

use crate::command::node_status::{self, NodeStatusArguments};
use crate::report::output::Output;
use oci_apparmor::error::Result;

/// Manage this machine as a node of a Kubernetes cluster
///
/// The commands for what a cluster needs on each of its nodes, and for what a cluster sees of them.
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    subcommand_value_name = "COMMAND",
    after_help = "\
Exit codes: those of the command.

Examples:
  oci-apparmor node status"
)]
pub(crate) struct NodeArguments {
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    Status(NodeStatusArguments),
}

pub(crate) fn run(arguments: &NodeArguments, output: Output) -> Result<u8> {
    match &arguments.command {
        NodeCommand::Status(arguments) => node_status::run(arguments, output),
    }
}

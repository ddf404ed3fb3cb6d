//! `node status`: what the cluster is told about this node.

use clap::Args;

use crate::report::output::Output;
use crate::statistics::node_facts::NodeFacts;
use oci_apparmor::error::Result;
use oci_apparmor::node::Node;

/// Show what the cluster is told about this node
///
/// The kernel and the parser of this node.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 the status was read, whatever it says.

Examples:
  oci-apparmor node status
  oci-apparmor node status --json")]
pub(crate) struct NodeStatusArguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &NodeStatusArguments, output: Output) -> Result<u8> {
    let node = Node::load()?;
    let facts = NodeFacts::of(&node);
    match arguments.json {
        true => output.json(&facts)?,
        false => {
            let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
            output.line(format!("kernel {}", or(&facts.kernel)))?;
            output.line(format!("parser {}", or(&facts.parser)))?;
        }
    }
    Ok(0)
}
